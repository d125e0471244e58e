"""PyTorch's side against pycaffe: every layer, its gradients, and the update."""

from pathlib import Path

import caffe
import numpy as np
import pytest
import torch
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.schema import parse
from swwae.base.project import ROOT
from swwae.bench import caffe_side, torch_layers, torch_side
from swwae.bench.comparison import differences, relative_difference
from swwae.bench.job import Job, Refused
from swwae.bench.network import (
    deterministic,
    outputs_of,
    solver_for,
    write,
)
from swwae.bench.torch_net import TorchNet, layers_of, missing
from swwae.nets import network

EVERY = ROOT / "tests/networks/every_layer.prototxt"
SHAPE = (4, 4, 12, 12)
KINDS = ("torch", "torch-channels-last")


@pytest.fixture
def job(tmp_path) -> Job:
    """The network of every layer, with weights, inputs and a solver, for Caffe."""
    net, solver = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    write(net, deterministic(network.read(EVERY)))
    given = caffe_pb2.SolverParameter(base_lr=3, momentum=0.9, weight_decay=0.1)
    solver.write_text(solver_for(given, net))
    random = np.random.default_rng(3)
    data = random.normal(0, 60, SHAPE).astype(np.float32)
    label = np.array([0, 4, 1, 2], np.float32)  # one is ignored
    np.savez(tmp_path / "inputs.npz", data=data, label=label)
    paths = (str(path) for path in (net, solver, tmp_path / "inputs.npz"))
    job = Job("caffe", 1, *paths, str(tmp_path / "weights"), True)
    caffe_side.Side(job).prepare(tmp_path / "weights")
    return job


def of_kind(job: Job, kind: str) -> Job:
    return Job(**{**vars(job), "kind": kind})


def test_the_network_has_every_layer():
    types = {layer.type for layer in network.read(EVERY).layer}
    known = {*torch_layers.BUILDERS, *torch_layers.NOT_COMPUTED}
    assert types == known


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_caffes(job, kind, tmp_path):
    blobs = [*outputs_of(network.read(Path(job.net))), "unpool2", "pool4", "relu2"]
    caffe_side.Side(job).compare(tmp_path / "caffe.npz", blobs)
    torch_side.Side(of_kind(job, kind)).compare(tmp_path / "torch.npz", blobs)
    found = differences(tmp_path / "caffe.npz", tmp_path / "torch.npz")
    assert found["outputs"].most < 1e-4, found
    assert found["gradients"].most < 1e-4, found
    with np.load(tmp_path / "caffe.npz") as arrays:
        sizes = {name: np.abs(arrays[name]).max() for name in arrays.files}
    for name in ("frozen", "bn1", "bn2"):
        assert sizes.pop(f"gradients/{name}") == 0
    assert min(sizes.values()) > 1e-3, sizes


@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_caffes(job, kind):
    """Momentum, weight decay, and multiples of both, over three steps."""
    before = dict(np.load(f"{job.weights}.npz"))
    ours, theirs = caffe_side.Side(job), torch_side.Side(of_kind(job, kind))
    ours.steps(3)
    assert theirs.steps(3) and abs(theirs.loss() / ours.loss() - 1) < 1e-4
    changed = 0
    for (name, place), each in theirs._net.parameters.items():
        if name in ("bn1", "bn2"):  # statistics
            continue
        start = before[f"{name}/{place}"]
        expected = ours._net.params[name][place].data - start
        found = each.values.detach().numpy() - start
        if name == "frozen":
            assert not expected.any() and not found.any()
            continue
        changed += 1
        assert relative_difference(expected, found)[0] < 1e-3, (name, place)
    assert changed == 16


def test_statistics_that_nobody_learned_leave_numbers_as_they_are(job):
    """They are 0 in Caffe: the variance, too, by whose root is divided."""
    with np.load(f"{job.weights}.npz") as arrays:
        mean, variance, factor = (arrays[f"bn2/{at}"] for at in range(3))
    assert not mean.any() and (variance == 1).all() and factor == 1


def test_dropout_and_noise_are_taken_from_both(job):
    built = caffe.Net(str(job.net), caffe.TRAIN)
    built.blobs["data"].data[...] = 7
    built.forward()
    assert not (built.blobs["fc1"].data == 0).all()
    assert np.array_equal(built.blobs["noisy"].data, built.blobs["scaled"].data)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ('type: "LRN"', "it (LRN)"),
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', "by STO"),
        ('type: "Pooling" pooling_param { kernel_size: 2 stride: 3 }', "too large"),
        ('type: "Depooling" pooling_param { pool: AVE kernel_size: 2 }', "by AVE"),
        ('type: "Power" loss_weight: 1', "Power with a loss_weight"),
        ('type: "SoftmaxWithLoss" loss_param { normalization: NONE }', "another norm"),
    ],
)
def test_what_it_lacks_is_named(layer, reason, job):
    path = Path(job.net)
    text = f'layer {{ name: "it" bottom: "data" top: "it" {layer} }}'
    layers = layers_of(parse(path.read_text() + text, "NetParameter", "no network"))
    (found,) = missing(layers)
    assert "it (" in found and reason in found
    with pytest.raises(torch_layers.Missing):
        TorchNet(layers, {})
    path.write_text(path.read_text() + text)
    with pytest.raises(Refused, match="the PyTorch side lacks it"):
        torch_side.Side(of_kind(job, "torch"))


def test_another_solver_is_refused(job):
    given = text_format.Parse(Path(job.solver).read_text(), caffe_pb2.SolverParameter())
    given.type, given.clip_gradients = "Adam", 5
    Path(job.solver).write_text(text_format.MessageToString(given))
    with pytest.raises(Refused, match="lacks solver Adam L2, clip_gradients"):
        torch_side.Side(of_kind(job, "torch"))


def test_a_frozen_encoder_gets_no_gradient(job):
    """Nor is one computed for what lies below."""
    layers = layers_of(parse(Path(job.net).read_text(), "NetParameter", ""))
    for layer in layers:
        if layer.name == "conv1":
            layer.fields["param"] = [{"lr_mult": 0.0}, {"lr_mult": 0.0}]
    with np.load(f"{job.weights}.npz") as arrays:
        weights = {}
        for name in arrays.files:
            weights.setdefault(name.rpartition("/")[0], []).append(arrays[name])
    net = TorchNet(layers, weights)
    inputs = {"data": torch.randn(SHAPE), "label": torch.zeros(4).long()}
    loss, blobs = net(inputs, ["noisy", "pool1"])
    assert not blobs["noisy"].requires_grad and blobs["pool1"].requires_grad
    loss.backward()
    assert net.parameters["conv1", 0].values.grad is None
    assert net.parameters["scale1", 0].values.grad is not None


def test_a_loss_is_as_large_as_caffe_says(tmp_path):
    """Caffe takes no probability for smaller than the smallest normal float32."""
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 2 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" }
    """
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    scores = np.array([[0, 500, 0], [1, 2, 3]], np.float32)
    built = caffe.Net(str(path), caffe.TRAIN)
    built.blobs["x"].data[...], built.blobs["y"].data[...] = scores, [0, 1]
    expected = float(built.forward()["loss"])
    assert 43 < expected < 45  # not 251
    net = TorchNet(layers_of(parse(text, "NetParameter", "")), {})
    x = torch.from_numpy(scores).requires_grad_()
    loss, _ = net({"x": x, "y": torch.tensor([0, 1])})
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert x.grad[0].tolist() == pytest.approx([-0.5, 0.5, 0])
