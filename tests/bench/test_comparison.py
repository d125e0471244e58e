"""What tools/bench.py computes: ratios, differences, and a network's operations."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.bench import (
    table,
)
from swwae.bench.comparison import (
    Difference,
    largest_difference,
    relative_difference,
)
from swwae.bench.contender import Contender, fastest, references, speed_up
from swwae.bench.job import Job
from swwae.bench.network import (
    inputs_for,
    label_blobs,
    on_engine,
    outputs_of,
    with_inputs,
)
from swwae.commands import bench
from swwae.nets import network
from swwae.nets.cost import Cost, step_cost


def contender(name="CAFFE", batch=8, threads=1, times=(), **more) -> Contender:
    job = Job("caffe", threads, "", "", "", "", True)
    return Contender(name, batch, job, job, times=list(times), **more)


# --- arithmetic


def test_ratios_are_of_a_rounds_neighbours():
    """A machine that slows both in one round changes no ratio."""
    caffe = contender(times=[10, 100, 12])
    dnnl = contender("DNNL", times=[5, 50, 4])
    assert speed_up(dnnl, caffe) == 2  # of 2, 2, 3; the medians' would be 2.4
    assert speed_up(caffe, dnnl) == 0.5


def test_the_faster_pytorch_counts():
    caffe = contender(times=[10])
    slow = contender("PyTorch", times=[8])
    fast = contender("PyTorch, channels last", times=[5])
    refused = contender("DNNL", refused="it is so")
    own = [caffe, refused, slow, fast]
    assert references(own) == (caffe, fast)
    assert fastest([refused]) is None
    text = table.figures(own, Cost(10**9, 10**9, 10**9))
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][-4:] == ["GFLOP/s", "memory", "outputs", "gradients"]
    assert rows[1][:6] == ["CAFFE", "10", "10-10", "800", "1.00", "0.50"]
    assert rows[1][6] == "300"  # GFLOP/s: 3 in 10 ms
    assert rows[3][3:9] == ["5", "5-5", "1600", "2.00", "1.00", "600"]
    assert text.endswith("DNNL: it is so")


def test_growth_is_in_images():
    one = contender(batch=8, threads=1, times=[10])
    two = contender(batch=8, threads=2, times=[5])
    large = contender(batch=32, threads=1, times=[20])
    rows = [row.split() for row in table.growth([one, two, large]).splitlines()]
    assert rows[1:] == [
        ["CAFFE", "8", "1", "->", "2", "2.00"],
        ["CAFFE", "8", "->", "32", "1", "2.00"],
    ]
    assert table.growth([one, contender("DNNL", times=[1])]) == ""


def test_differences_are_relative_to_the_reference():
    expected = np.array([3e-30, 4e-30], np.float32)  # whose squares are 0 in float32
    found = expected + np.array([0, 5e-32], np.float32)
    l2, most = relative_difference(expected, found)
    assert l2 == pytest.approx(0.01, rel=1e-3)
    assert most == pytest.approx(0.0125, rel=1e-3)
    zero = np.zeros(2, np.float32)
    assert relative_difference(zero, zero) == (0, 0)
    assert relative_difference(zero, found) == (np.inf, np.inf)
    nan = np.array([np.nan, 1], np.float32)
    found = largest_difference(
        {"a": (0.1, 0.3), "b": (0.2, 0.1), "c": relative_difference(expected, nan)}
    )
    assert found == Difference(np.inf, "c", np.inf, "c")
    assert largest_difference({"a": (0.1, 0.3), "b": (0.2, 0.1)}) == Difference(
        0.2, "b", 0.3, "a"
    )


@pytest.mark.parametrize(
    ("found", "own", "code"),
    [(9e-4, 0, 0), (2e-3, 0, 1), (2e-3, 3e-3, 0), (np.inf, 3e-3, 1)],
)
def test_another_result_fails(found, own, code, capsys):
    def both(l2: float) -> dict[str, Difference]:
        one = Difference(l2, "conv1", l2, "conv1")
        return {"outputs": Difference(0, "loss", 0, "loss"), "gradients": one}

    caffe = contender(differences=both(own))
    dnnl = contender("DNNL", differences=both(found))
    assert bench._judge([caffe, dnnl]) == code
    said = capsys.readouterr().err
    assert ("DNNL, batch 8, 1 thread: gradients of conv1 differ" in said) == bool(code)


def test_a_loss_that_is_not_finite_fails(capsys):
    assert bench._judge([contender(finite=False)]) == 1
    assert "the loss is not finite" in capsys.readouterr().err


# --- networks

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mean_value: 10 mean_value: 20 scale: 0.5 }
  data_param { source: "nowhere" batch_size: 6 } }
layer { name: "data" type: "Data" top: "data" include { phase: TEST }
  data_param { source: "nowhere" batch_size: 9 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "conv1/relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
  inner_product_param { num_output: 7 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "dec" type: "Deconvolution" bottom: "conv2" top: "dec"
  convolution_param { num_output: 2 kernel_size: 5 } }
layer { name: "aside" type: "InnerProduct" bottom: "dec" top: "aside"
  inner_product_param { num_output: 3 } }
"""
IMAGE = (1, 2, 9, 9)
SHAPES = {
    "data": (5, 2, 9, 9),
    "conv1": (5, 4, 9, 9),
    "conv2": (5, 6, 4, 4),
    "fc": (5, 7),
    "dec": (5, 2, 8, 8),
    "aside": (5, 3),
}
PARAMETERS = {
    "conv1": [(4, 2, 3, 3), (4,)],
    "conv2": [(6, 2, 3, 3), (6,)],
    "fc": [(7, 96), (7,)],
    "dec": [(6, 2, 5, 5), (2,)],
    "aside": [(3, 128), (3,)],
}
CONV1 = 2 * 5 * 81 * 4 * 2 * 9
CONV2 = 2 * 5 * 16 * 6 * 2 * 9  # two of four channels in a group
FC = 2 * 5 * 7 * 96
DEC = 2 * 5 * 16 * 6 * 2 * 25
ASIDE = 2 * 5 * 3 * 128
FORWARD = CONV1 + CONV2 + FC + DEC + ASIDE


def parsed(text: str) -> caffe_pb2.NetParameter:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def small(text: str = NET) -> caffe_pb2.NetParameter:
    return with_inputs(parsed(text), IMAGE, "data", 5, ROOT / "net.prototxt")


def test_operations_are_counted_where_they_are_done():
    """The first layer's bottom needs no gradient; `dec` and `aside` lead to no loss."""
    found = step_cost(small(), SHAPES, PARAMETERS)
    assert found == Cost(FORWARD, CONV2 + FC, CONV1 + CONV2 + FC)
    assert found.total == FORWARD + CONV1 + 2 * (CONV2 + FC)


def test_a_frozen_layer_needs_no_weights_gradient():
    frozen = NET.replace(
        'name: "conv1" ', 'name: "conv1" param { lr_mult: 0 } param { lr_mult: 0 } '
    )
    assert step_cost(small(frozen), SHAPES, PARAMETERS) == Cost(FORWARD, FC, CONV2 + FC)
    loss = """layer { name: "dec/loss" type: "EuclideanLoss" bottom: "dec" bottom: "dec"
      top: "dec/loss" loss_weight: 0.1 }"""
    found = step_cost(small(frozen + loss), SHAPES, PARAMETERS)
    assert found == Cost(FORWARD, FC + DEC, CONV2 + FC + DEC)


def test_inputs_stand_in_for_data():
    net = small()
    assert [layer.type for layer in net.layer][:2] == ["Input", "Convolution"]
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [
        [5, 2, 9, 9],
        [5],
    ]
    assert label_blobs(net) == {"label": "fc"}
    assert outputs_of(net) == ["loss", "fc"]
    made = inputs_for(parsed(NET), net, {"label": 7}, 1)
    assert made["data"].shape == (5, 2, 9, 9) and made["data"].dtype == np.float32
    for channel, mean in enumerate((10, 20)):
        pixels = made["data"][:, channel] * 2 + mean
        assert pixels.min() >= 0 and pixels.max() <= 255 and pixels.std() > 60
        assert np.array_equal(pixels, np.round(pixels))
    assert set(made["label"]) <= set(range(7)) and len(set(made["label"])) > 1
    again = inputs_for(parsed(NET), net, {"label": 7}, 1)
    assert all(np.array_equal(again[name], made[name]) for name in made)


def test_joined_data_layers_keep_their_shares():
    joined = """
    layer { name: "few" type: "Data" top: "few" top: "label"
      data_param { batch_size: 16 } }
    layer { name: "rest" type: "Data" top: "rest" data_param { batch_size: 48 } }
    layer { name: "data" type: "Concat" bottom: "few" bottom: "rest" top: "data"
      concat_param { axis: 0 } }
    """
    path = ROOT / "net.prototxt"
    for batch, shares in ((None, (16, 48)), (8, (2, 6))):
        net = with_inputs(parsed(joined), IMAGE, "data", batch, path)
        few, rest = (layer.input_param.shape[0].dim[0] for layer in net.layer[:2])
        assert (few, rest) == shares
        assert net.layer[0].input_param.shape[1].dim == [shares[0]]
    with pytest.raises(UserError, match="few of net.prototxt yields 16 of 64 .* of 4"):
        with_inputs(parsed(joined), IMAGE, "data", 6, path)


def test_the_engine_is_that_of_every_layer():
    net = on_engine(
        network.read(ROOT / "models/vgg8/swwae-all/train_val.prototxt"), "DNNL"
    )
    text = text_format.MessageToString(net)
    assert text.count("engine: DNNL") == text.count("_param {\n    num_output") == 14
