"""Networks cut down to one loss: what is left, and that it trains to the same bits."""

import shutil

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.nets import cutting, network, weights
from tests.helpers import killed

TINY = """
layer { name: "data" type: "Data" top: "data" top: "label" }
layer { name: "drop" type: "Dropout" bottom: "data" top: "dropped" }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" top: "mask" }
layer { name: "conv2" type: "Convolution" bottom: "pool" top: "conv2"
  param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "dec:conv2" type: "Deconvolution" bottom: "conv2" top: "dec:conv1[2]" }
layer { name: "dec:loss@conv1" type: "EuclideanLoss" bottom: "dec:conv1[2]"
  bottom: "pool" top: "dec:loss@conv1" }
layer { name: "dec:conv1" type: "Deconvolution" bottom: "pool" top: "dec:data" }
layer { name: "dec:loss@data" type: "EuclideanLoss" bottom: "dec:data" bottom: "data"
  top: "dec:loss@data" }
"""
DEEP, IMAGE = "dec:loss@conv1", "dec:loss@data"
COUNTS = dict.fromkeys(("conv1", "conv2", "dec:conv1", "dec:conv2"), 2)


def tiny() -> caffe_pb2.NetParameter:
    return text_format.Parse(TINY, caffe_pb2.NetParameter())


def test_what_is_left():
    assert cutting.losses(tiny()) == [IMAGE, DEEP]
    left = {loss: cutting.cut(tiny(), loss).layer for loss in (IMAGE, DEEP)}
    assert {loss: [la.name for la in layers] for loss, layers in left.items()} == {
        IMAGE: ["data", "conv1", "pool", "dec:conv1", IMAGE, "unused"],
        DEEP: ["data", "conv1", "pool", "conv2", "dec:conv2", DEEP, "unused"],
    }
    for layers in left.values():
        assert list(layers[-1].bottom) == ["label", "mask"]


def test_what_shares_its_parameters_keeps_their_owner():
    """A file of weights has a ladder's noisy encoder by the clean one's names alone."""
    net = tiny()
    net.layer[2].param[0].name = "filters"
    net.layer.add(name="noisy:conv1", type="Convolution", bottom=["data"], top=["n"])
    net.layer[-1].param.add(name="filters")
    net.layer.add(name=f"{IMAGE}2", type="EuclideanLoss", bottom=["n", "data"])
    left = [layer.name for layer in cutting.cut(net, f"{IMAGE}2").layer]
    assert left == ["data", "conv1", "noisy:conv1", f"{IMAGE}2", "unused"]


def test_what_cannot_be_cut():
    losses = [IMAGE, DEEP]
    assert cutting.fault(tiny(), losses, COUNTS) is None

    net = tiny()
    net.layer[2].param[1].lr_mult = 1
    fault = cutting.fault(net, losses, COUNTS)
    assert fault == f"layer conv1 is trained by more than one loss, {IMAGE} and {DEEP}"
    # A layer whose parameters are none, and statistics, are not trained.
    assert cutting.fault(net, losses, {**COUNTS, "conv1": 1}) is None
    net.layer[2].type = "BatchNorm"
    assert cutting.fault(net, losses, COUNTS) is None

    net = tiny()
    net.layer.add(name="more", type="Data", top=["more"])
    assert "a data layer comes after others" in cutting.fault(net, losses, COUNTS)

    net = tiny()
    net.layer[3].type = "GaussianNoise"  # after a Dropout that no loss needs
    fault = cutting.fault(net, losses, COUNTS)
    assert f"{IMAGE} needs the random numbers of pool, which follow" in fault
    net.layer[2].bottom[0] = "dropped"
    assert cutting.fault(net, losses, COUNTS) is None


RATE = 1e-5
"""With which a ladder that nobody has trained stays finite."""


@pytest.mark.parametrize(
    ("variant", "engine"),
    [("swwae-layerwise", "DNNL"), ("swwae-layerwise", "CAFFE"), ("ladder", "DNNL")],
)
def test_cut_networks_train_to_the_same_bits(tmp_path, variant, engine):
    """With crops, mirrors and scales that are drawn, and tests in between."""
    whole = tmp_path / "whole"
    whole.mkdir()
    text = killed.networks(variant)["pretrain"]
    killed.write_network(text, whole)
    net = network.read(whole / "net.prototxt")
    losses = cutting.losses(net)
    assert len(losses) == (4 if variant == "ladder" else 3)
    # All begin with the same weights: what fillers draw depends on the layers before.
    killed.write_solver(whole, RATE, random_seed=2)
    killed.train(whole, engine)
    (began,) = (whole / "run").glob(f"*_iter_{killed.ITERATIONS}.caffemodel")
    held = weights.load(began)  # without what a ladder's noisy encoder shares
    began = tmp_path / "began.caffemodel"
    weights.save(held, began)
    trained = {}
    for number, loss in enumerate([None, *losses]):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("run"))
        if loss is not None:
            part = text_format.MessageToString(cutting.cut(net, loss))
            (folder / "net.prototxt").write_text(part)
        settings = {"random_seed": 7, "weights": [str(began)], "iter_size": 2}
        killed.write_solver(folder, RATE, **settings)
        killed.train(folder, engine)
        (left,) = (folder / "run").glob(f"*_iter_{killed.ITERATIONS}.caffemodel")
        trained[loss] = weights.read(left)
    joint, before = trained.pop(None), weights.read(began)
    seen = set()
    for blobs in trained.values():
        for layer, values in blobs.items():
            np.testing.assert_equal(values, joint[layer])
            if layer.startswith("dec:"):
                seen.add(layer)
                assert not np.array_equal(values[0], before[layer][0])
    assert seen == {layer for layer in joint if layer.startswith("dec:")}
