"""The interpreter against pycaffe: values, objective and slopes of small networks."""

import caffe
import numpy as np
import pytest

from tests.helpers import arithmetic
from tests.helpers.arithmetic import forward, slope
from tests.helpers.compared import (
    AFTER,
    BEFORE,
    SHAPE,
    agree,
    close,
    input_layer,
    layer,
    parse,
    values,
)
from tests.helpers.loading import build


def convolution(**settings):
    """Settings of a convolution; lists for y and x."""
    text = ""
    for name, setting in settings.items():
        for value in setting if isinstance(setting, list) else [setting]:
            text += f"{name}: {str(value).lower()} "
    return f"convolution_param {{ {text}}}"


CONVOLUTIONS = {
    "plain": convolution(num_output=3, kernel_size=3),
    "padded": convolution(num_output=3, kernel_size=3, pad=1, stride=2),
    "no bias": convolution(num_output=2, kernel_size=2, bias_term=False),
    "groups": convolution(num_output=6, kernel_size=3, group=2, pad=2),
    "depthwise": convolution(num_output=4, kernel_size=2, group=4),
    "dilated": convolution(num_output=3, kernel_size=3, dilation=2, pad=1),
    "rectangular": convolution(
        num_output=3, kernel_h=2, kernel_w=3, stride_h=3, stride_w=2, pad_h=0, pad_w=1
    ),
    "lists": convolution(
        num_output=4,
        kernel_size=[3, 2],
        stride=[1, 2],
        pad=[2, 1],
        dilation=[2, 3],
        group=2,
    ),
}

POOLINGS = {
    "even": "kernel_size: 2 stride: 2",
    "overlapping": "kernel_size: 3 stride: 2",
    "floor": "kernel_size: 2 stride: 2 round_mode: FLOOR",
    "padded": "kernel_size: 3 stride: 2 pad: 1",
    "clipped": "kernel_size: 2 stride: 2 pad: 1",
    "rectangular": "kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3 pad_h: 1 pad_w: 0",
    "one side padded": (
        "kernel_h: 2 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 1"
    ),
    "wide": "kernel_size: 5 stride: 4 pad: 2",
    "global": "global_pooling: true",
}


# Name -> layers from x to out.
CASES = {
    **{
        f"{type_} {name}": layer(type_, settings)
        for type_ in ("Convolution", "Deconvolution")
        for name, settings in CONVOLUTIONS.items()
    },
    **{
        f"{type_} of two": layer("TanH", "", "x", "y", "t")
        + layer(type_, convolution(num_output=3, kernel_size=2), "x y", "a b")
        + layer("Concat", "", "b a", "out", "concat")
        for type_ in ("Convolution", "Deconvolution")
    },
    **{
        f"MAX {name}": layer("Pooling", f"pooling_param {{ {param} }}", "x", "out s")
        for name, param in POOLINGS.items()
    },
    **{
        f"AVE {name}": layer("Pooling", f"pooling_param {{ pool: AVE {param} }}")
        for name, param in POOLINGS.items()
    },
    **{
        f"{method} {fix} undone, {name}": (
            layer("Pooling", f"pooling_param {{ {param} }}", "x", "p s", "pool")
            + layer(
                "Depooling",
                f"pooling_param {{ pool: {method} {param} {fix} }}",
                f"p {switches} x",
                "out count",
            )
        )
        for name, param in POOLINGS.items()
        for method, switches, fix in (
            ("SWITCH", "s", ""),
            ("MAX", "s", ""),
            ("FIX", "", ""),
            ("FIX", "", "fix_y: 1 fix_x: 0" if name != "global" else "fix: 2"),
            ("AVE", "", ""),
        )
    },
    **{
        f"Depooling {pool} without shape": layer(
            "Depooling", f"pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}"
        )
        for pool in ("FIX fix: 0", "AVE", "FIX fix_x: 2 pad: 1")
    },
    "InnerProduct": layer("InnerProduct", "inner_product_param { num_output: 5 }"),
    "InnerProduct transposed": layer(
        "InnerProduct",
        "inner_product_param { num_output: 5 transpose: true bias_term: false }",
    ),
    "InnerProduct axis": layer(
        "InnerProduct", "inner_product_param { num_output: 5 axis: -1 }"
    ),
    "ReLU": layer("ReLU"),
    "ReLU leaky": layer("ReLU", "relu_param { negative_slope: 0.2 }"),
    "PReLU": layer("PReLU"),
    "PReLU shared": layer("PReLU", "prelu_param { channel_shared: true }"),
    "ELU": layer("ELU", "elu_param { alpha: 0.7 }"),
    "TanH": layer("TanH"),
    "Sigmoid": layer("Sigmoid"),
    "BNLL": layer("BNLL"),
    "SafeInv": layer("Sigmoid", "", "x", "y", "s") + layer("SafeInv", "", "y"),
    "Power": layer("Sigmoid", "", "x", "y", "s")
    + layer("Power", "power_param { power: -0.7 scale: 1.5 shift: 0.2 }", "y"),
    "Dropout": layer("Dropout", "dropout_param { dropout_ratio: 0.4 }"),
    "LRN": layer("LRN", "lrn_param { local_size: 3 alpha: 0.4 beta: 0.6 k: 2 }"),
    "LRN within": layer(
        "LRN",
        "lrn_param { local_size: 3 alpha: 2 beta: 0.6 norm_region: WITHIN_CHANNEL }",
    ),
    "BatchNorm": layer("BatchNorm", "batch_norm_param { eps: 0.01 }"),
    "BatchNorm of the batch": layer(
        "BatchNorm", "batch_norm_param { use_global_stats: false eps: 0.01 }"
    ),
    "Scale": layer("Scale", "scale_param { bias_term: true }"),
    "Scale axes": layer("Scale", "scale_param { axis: -3 num_axes: 2 }"),
    "Scale by a bottom": layer("Sigmoid", "", "x", "y", "s")
    + layer("Scale", "scale_param { axis: 0 bias_term: true }", "x y"),
    "Scale by one value": layer("Scale", "scale_param { num_axes: 0 }"),
    "Bias": layer("Bias"),
    "Bias axes": layer("Bias", "bias_param { axis: 2 num_axes: -1 }"),
    "Flatten": layer("Flatten"),
    "Flatten axes": layer("Flatten", "flatten_param { axis: -3 end_axis: 2 }"),
    "Reshape": layer("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"),
    "Reshape axes": layer(
        "Reshape", "reshape_param { axis: 1 num_axes: 2 shape { dim: -1 dim: 2 } }"
    ),
    "Reshape new axis": layer(
        "Reshape", "reshape_param { axis: -1 num_axes: 0 shape { dim: 1 } }"
    ),
    **{
        f"Eltwise {param}": layer("TanH", "", "x", "y", "t")
        + layer("Eltwise", f"eltwise_param {{ operation: {param} }}", "x y x")
        for param in ("PROD", "SUM", "SUM coeff: 1 coeff: -0.5 coeff: 2")
    },
    "Eltwise MAX": layer("Power", "power_param { scale: -2 }", "x", "y", "p")
    + layer("Eltwise", "eltwise_param { operation: MAX }", "x y"),
    "Concat": layer("TanH", "", "x", "y", "t") + layer("Concat", "", "x y x"),
    "Concat axis": layer("Concat", "concat_param { axis: -1 }", "x x"),
    "Slice": layer(
        "Slice", "slice_param { axis: 2 slice_point: 2 slice_point: 3 }"
    ).replace('top: "out"', 'top: "out" top: "b" top: "c"')
    + layer("Silence", "", "b c", "", "silence"),
    "Slice equally": layer("Slice", "", "x", "a b", "cut")
    + layer("Concat", "concat_param { axis: 0 }", "b a"),
    "Slice with loss weights": layer(
        "Slice", "loss_weight: 2 loss_weight: -3", "x", "a b", "cut"
    )
    + layer("Concat", "", "b a"),
    "Slice and Concat, old fields": layer(
        "Slice", "slice_param { slice_dim: 3 }", "x", "a b", "cut"
    )
    + layer("Concat", "concat_param { concat_dim: 2 }", "b a"),
    "Crop": layer("Crop", "crop_param { axis: 2 offset: 1 offset: 2 }", "x small"),
    "Crop all": layer("Crop", "crop_param { axis: -2 offset: 2 }", "x small"),
    "Split": layer("Split", "", "x", "a b", "split")
    + layer("Eltwise", "eltwise_param { operation: PROD }", "a b"),
    "Softmax": layer("Softmax"),
    "Softmax axis": layer("Softmax", "softmax_param { axis: -1 }"),
}


@pytest.mark.parametrize("case", CASES)
def test_layers_compute_what_caffe_computes(case):
    text = input_layer("data", SHAPE) + BEFORE + CASES[case] + AFTER
    inputs = {"data": SHAPE}
    if "small" in text:
        text = input_layer("small", (2, 4, 3, 4)) + text
        inputs["small"] = (2, 4, 3, 4)
    agree(parse(text), inputs)


LABELS = np.array([1, 3])
GRID = np.arange(2 * 7 * 6).reshape(2, 7, 6) % 4
SHARES = np.random.default_rng(1).integers(0, 4, SHAPE) / 2  # 0, 0.5, 1 and 1.5


# Name -> layer, its second bottom.
LOSSES = {
    "EuclideanLoss": (layer("EuclideanLoss", "loss_weight: 0.1", "x y"), SHAPE),
    "SoftmaxWithLoss": (layer("SoftmaxWithLoss", "", "x y"), GRID),
    "SoftmaxWithLoss, all ignored": (
        layer("SoftmaxWithLoss", "loss_param { ignore_label: 2 }", "x y"),
        np.full_like(GRID, 2),
    ),
    **{
        f"SoftmaxWithLoss {param}": (
            layer(
                "SoftmaxWithLoss",
                f"loss_weight: 3 loss_param {{ ignore_label: 2 {param} }}",
                "x y",
            ),
            GRID,
        )
        for param in (
            "",
            "normalize: true",
            "normalize: false",
            *(f"normalization: {way}" for way in ("FULL", "BATCH_SIZE", "NONE")),
        )
    },
    **{
        f"SigmoidCrossEntropyLoss {param}": (
            layer("SigmoidCrossEntropyLoss", f"loss_param {{ {param} }}", "x y"),
            SHARES,
        )
        for param in (
            "",
            "ignore_label: 1",
            "normalize: true ignore_label: 1",
            "normalization: FULL",
            "normalization: NONE",
        )
    },
}


@pytest.mark.parametrize("case", LOSSES)
def test_losses_are_those_of_caffe(case):
    text, second = LOSSES[case]
    shape = second if isinstance(second, tuple) else second.shape
    net = parse(input_layer("data", SHAPE) + input_layer("y", shape) + BEFORE + text)
    agree(net, {"data": SHAPE, "y": second})


SCORES = layer("InnerProduct", "inner_product_param { num_output: 5 }", "data", "x")


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_the_hinge_loss_is_that_of_caffe(norm):
    last = layer(
        "HingeLoss", f"hinge_loss_param {{ norm: {norm} }}", "x y", "out", "loss"
    )
    net = parse(input_layer("data", (2, 3)) + input_layer("y", (2,)) + SCORES + last)
    agree(net, {"data": (2, 3), "y": LABELS})


@pytest.mark.parametrize("param", ["", "top_k: 2", "top_k: 3 ignore_label: 1"])
def test_accuracy_counts_as_caffe_does(param):
    text = layer("Accuracy", f"accuracy_param {{ {param} }}", "x y", "out each")
    labels = np.arange(12) % 5
    # Few different scores, so that there are ties.
    scores = np.random.default_rng(2).integers(0, 4, (12, 5))
    net = parse(input_layer("x", (12, 5)) + input_layer("y", (12,)) + text)
    blobs = agree(net, {"x": scores, "y": labels})
    assert 0 < blobs["out"] < 1


def test_the_first_of_equals_is_the_maximum():
    text = layer("Pooling", "pooling_param { kernel_size: 2 }", "x", "out s")
    ties = np.random.default_rng(3).integers(-1, 1, SHAPE)
    blobs = agree(parse(input_layer("x", SHAPE) + text), {"x": ties})
    assert (blobs["out"] == 0).any() and (blobs["out"] == -1).any()


def test_batch_norm_uses_the_batch_in_training():
    text = input_layer("data", SHAPE) + BEFORE + layer("BatchNorm") + AFTER
    agree(parse(text), {"data": SHAPE}, caffe.TRAIN)


def test_a_stored_factor_of_zero_means_no_statistics():
    net = parse(input_layer("x", SHAPE) + layer("BatchNorm"))
    params = {"it": [np.ones(4), np.ones(4), np.zeros(1)]}
    x = values({"x": SHAPE})["x"]
    built = build(net, caffe.TEST)
    for blob, array in zip(built.params["it"], params["it"], strict=True):
        blob.data[...] = array
    built.blobs["x"].data[...] = x
    built.forward()
    blobs = forward(net, params, {"x": x}, caffe.TEST)
    close(built.blobs["out"].data, blobs["out"], "out")


AUTOENCODER = f"""
{input_layer("data", (2, 3, 9, 10))} {input_layer("label", (2,))}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 5 kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "mask"
  pooling_param {{ kernel_size: 3 stride: 2 }} }}
layer {{ name: "drop" type: "Dropout" bottom: "pool1" top: "drop"
  dropout_param {{ dropout_ratio: 0 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "drop" top: "fc"
  inner_product_param {{ num_output: 4 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label"
  top: "loss" loss_weight: 2 }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label"
  top: "accuracy" include {{ phase: TEST stage: "no such" }}
  include {{ phase: TEST }} }}
layer {{ name: "sum" type: "Depooling" bottom: "pool1" bottom: "mask" bottom: "conv1"
  top: "sum" top: "landed" pooling_param {{ pool: SWITCH kernel_size: 3 stride: 2 }} }}
layer {{ name: "inverse" type: "SafeInv" bottom: "landed" top: "inverse" }}
layer {{ name: "unpool" type: "Eltwise" bottom: "sum" bottom: "inverse" top: "unpool"
  eltwise_param {{ operation: PROD }} }}
layer {{ name: "deconv1" type: "Deconvolution" bottom: "unpool" top: "image"
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 }} }}
layer {{ name: "image loss" type: "EuclideanLoss" bottom: "image" bottom: "data"
  top: "image loss" loss_weight: 0.3 exclude {{ stage: "x" }} exclude {{ min_level: 1 }}
  propagate_down: true propagate_down: false }}
"""


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_an_autoencoder_with_a_classifier(phase):
    inputs = {"data": (2, 3, 9, 10), "label": LABELS}
    blobs = agree(parse(AUTOENCODER), inputs, phase)
    assert ("accuracy" in blobs) == (phase == caffe.TEST)
    assert (blobs["landed"] > 1).any() and (blobs["landed"] == 0).any()


TIED = f"""
{input_layer("data", SHAPE)}
layer {{ name: "one" type: "Convolution" bottom: "data" top: "a"
  param {{ name: "w" }} param {{ name: "b" }}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "tanh" type: "TanH" bottom: "a" top: "a" }}
layer {{ name: "two" type: "Convolution" bottom: "a" top: "x"
  param {{ name: "w" }} param {{ name: "c" }}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "three" type: "Deconvolution" bottom: "x" top: "out"
  param {{ name: "w" }} param {{ name: "b" }}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
{AFTER}
"""


def test_tied_weights_are_the_first_layers():
    net = parse(TIED)
    agree(net, {"data": SHAPE})
    random = np.random.default_rng(4)
    w, b, c = random.normal(0, 1, (4, 4, 3, 3)), *random.normal(0, 1, (2, 4))
    inputs = values({"data": SHAPE})
    whole = {"one": [w, b], "two": [w, c], "three": [w, b]}
    later = {"one": [w, b], "two": [None, c]}
    for params in (whole | {"two": [w + 1, c], "three": [w - 1, b]}, later):
        blobs = forward(net, params, inputs, caffe.TEST)
        expected = forward(net, whole, inputs, caffe.TEST)
        np.testing.assert_array_equal(blobs["out"], expected["out"])
    at = (caffe.TEST, "three", 0, (1, 2, 0, 1))
    assert slope(net, later, inputs, *at) == slope(net, whole, inputs, *at) != 0


def test_every_layer_type_is_compared():
    nets = [*CASES.values(), *(text for text, _ in LOSSES.values()), AUTOENCODER]
    compared = {la.type for text in nets for la in parse(text).layer}
    elsewhere = {"GaussianNoise", "HingeLoss", "ImageOutput"}
    assert set(arithmetic.LAYERS) == compared - {"Input"} | elsewhere
