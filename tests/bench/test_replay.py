"""A pass with another's switches and values, on a network of every layer."""

from dataclasses import replace

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from swwae.base.project import ROOT
from swwae.bench import caffe_side
from swwae.bench.comparison import differences, relative_difference
from swwae.bench.job import Job
from swwae.bench.network import (
    deterministic,
    on_engine,
    outputs_of,
    solver_for,
    without_fillers,
    write,
)
from swwae.nets import network

EVERY = ROOT / "tests/networks/every_layer.prototxt"
SHAPE = (4, 4, 12, 12)


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    """The same network and weights with two sets of images."""
    net, solver = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    write(net, on_engine(deterministic(network.read(EVERY)), "CAFFE"))
    solver.write_text(solver_for(caffe_pb2.SolverParameter(base_lr=1), net))
    made = []
    for seed in (3, 4):
        inputs = tmp_path / f"inputs{seed}.npz"
        data = np.random.default_rng(seed).normal(0, 60, SHAPE).astype(np.float32)
        np.savez(inputs, data=data, label=np.array([0, 4, 1, seed], np.float32))
        paths = (str(path) for path in (net, solver, inputs, tmp_path / "weights"))
        made.append(Job("caffe", 1, *paths, updates=False))
    caffe_side.Side(made[0]).prepare(tmp_path / "weights", for_caffe=False)
    assert not (tmp_path / "weights.caffemodel").exists()
    return made


def test_gradients_are_of_the_given_values(jobs, tmp_path):
    """What layers keep inside (places of maxima, statistics, probabilities), too."""
    one, other = (tmp_path / f"{name}.npz" for name in ("one", "other"))
    values = tmp_path / "values.npz"
    blobs = outputs_of(network.read(EVERY))
    caffe_side.Side(jobs[0]).compare(one, blobs, save=values)
    caffe_side.Side(jobs[1]).compare(other, blobs)
    assert differences(one, other)["gradients"].l2 > 0.1
    caffe_side.Side(jobs[1]).compare(other, blobs, given=values)
    found = differences(one, other)
    assert found["gradients"].l2 < 1e-6
    assert found["outputs"].l2 > 0.1  # these are of its own images


def test_outputs_are_of_the_given_switches(jobs, tmp_path):
    """Its own images would choose other places."""
    one, other = (tmp_path / f"{name}.npz" for name in ("one", "other"))
    values = tmp_path / "values.npz"
    net = network.read(EVERY)
    switches = [
        layer.top[1]
        for layer in net.layer
        if layer.type == "Pooling" and len(layer.top) > 1
    ]
    assert switches
    caffe_side.Side(jobs[0]).compare(one, switches, save=values)
    side = caffe_side.Side(jobs[1])
    side.compare(other, switches, given=values)
    with np.load(one) as mine, np.load(other) as theirs:
        for name in switches:
            key = f"outputs/{name}"
            assert relative_difference(mine[key], theirs[key]) == (0, 0)


def test_weights_take_the_fillers_place(jobs, tmp_path):
    bare = tmp_path / "bare.prototxt"
    write(bare, without_fillers(network.read(EVERY)))
    assert "filler" not in bare.read_text()
    side = caffe_side.Side(replace(jobs[0], net=str(bare)))
    with np.load(f"{jobs[0].weights}.npz") as arrays:
        for name in arrays.files:
            layer, _, place = name.rpartition("/")
            found = side._net.params[layer][int(place)].data
            assert np.array_equal(found, arrays[name]), name
