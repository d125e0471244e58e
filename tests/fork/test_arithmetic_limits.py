"""Which layers the interpreter builds, which slopes it measures, what it refuses."""

import caffe
import numpy as np
import pytest

from tests.helpers import arithmetic
from tests.helpers.arithmetic import forward, objective, slope
from tests.helpers.compared import (
    AFTER,
    BEFORE,
    SHAPE,
    agree,
    input_layer,
    layer,
    parse,
    values,
)
from tests.helpers.loading import build

RULES = [
    "",
    *(
        f"{clude} {{ {rule} }}"
        for clude in ("include", "exclude")
        for rule in (
            "",
            "phase: TRAIN",
            "phase: TEST",
            "min_level: 1",
            "min_level: 0",
            "max_level: -1",
            "max_level: 0",
            'stage: "x"',
            'not_stage: "x"',
            "phase: TEST max_level: -1",
        )
    ),
    "exclude { phase: TRAIN } exclude { min_level: 1 }",
    "include { phase: TRAIN } include { max_level: -1 }",
]


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_rules_choose_the_layers_that_caffe_builds(phase):
    layers = [
        layer("TanH", rule, "x", f"y{number}", f"rule {number}")
        for number, rule in enumerate(RULES)
    ]
    net = parse(input_layer("x", SHAPE) + "".join(layers))
    built = {name for name in build(net, phase)._layer_names if "split" not in name}
    assert {la.name for la in arithmetic.layers_in(net, phase)} == built
    assert 2 < len(built) < len(RULES)


def test_inputs_of_the_network_itself():
    dims = " ".join(f"dim: {size}" for size in SHAPE)
    net = parse(f'input: "data" input_shape {{ {dims} }}')
    net.MergeFrom(parse(BEFORE + layer("ReLU") + AFTER))
    agree(net, {"data": SHAPE})
    assert net.input == ["data"]


def test_image_output_and_silence_leave_no_blobs():
    text = layer("ImageOutput", "", "x", "") + layer("Silence", "", "x", "", "silence")
    blobs = forward(
        parse(input_layer("x", SHAPE) + text), {}, values({"x": SHAPE}), caffe.TEST
    )
    assert list(blobs) == ["x"]


# From data to out the parameter goes through a kink at 0.
KINKS = {
    "ReLU": layer("ReLU"),
    "MAX": layer("Pooling", "pooling_param { kernel_h: 1 kernel_w: 2 }"),
    "Eltwise MAX": (
        layer("Power", "power_param { scale: 0 }", "x", "y", "p")
        + layer("Eltwise", "eltwise_param { operation: MAX }", "x y")
    ),
    "PReLU": layer("PReLU"),
}


def slope_at(w, data, layers):
    """The objective's slope in w at x = w · data, from a step of 1e-3 downwards."""
    first = layer("Scale", "", "data", "x", "before")
    net = parse(input_layer("data", np.shape(data)) + first + layers)
    inputs = {"data": np.array(data), "y": np.zeros(1)}
    params = {"before": [np.full(np.shape(data)[1], w)], "it": [np.array([0.25])]}
    return slope(net, params, inputs, caffe.TEST, "before", 0, (0,), step=1e-3)


# Steps of 1e-3 and 1e-4 straddle a kink this far away; one of 1e-5 does not.
NEAR = 5e-5


@pytest.mark.parametrize("kink", KINKS)
@pytest.mark.parametrize("side", [1, -1])
def test_a_kink_within_the_step_is_not_measured(kink, side):
    """x = (w, 0) and out = max(x): the slope is 1 or 0, or a PReLU's 0.25."""
    layers = KINKS[kink] + layer("Power", "loss_weight: 1", "out", "end", "end")
    data = [[[[1, 0]]]]
    below = 0.25 if kink == "PReLU" else 0
    expected = 1 if side > 0 else below
    assert slope_at(side * NEAR, data, layers) == pytest.approx(expected, abs=1e-9)
    assert np.isnan(slope_at(0.0, data, layers))
    assert np.isnan(slope_at(side * 1e-9, data, layers))


@pytest.mark.parametrize("side", [1, -1])
def test_the_pole_of_an_inverse_is_not_measured(side):
    layers = layer("SafeInv", "loss_weight: 1")
    # So near the pole, the central difference itself is off by (step / w)² = 4 %.
    expected = pytest.approx(-(NEAR**-2), rel=0.05)
    assert slope_at(side * NEAR, [[1]], layers) == expected
    assert np.isnan(slope_at(0.0, [[1]], layers))
    assert np.isnan(slope_at(side * 1e-9, [[1]], layers))


def test_the_edge_of_a_hinge_is_not_measured():
    """The loss is max(0, 1 − w)."""
    layers = input_layer("y", (1,)) + layer("HingeLoss", "", "x y")
    assert slope_at(1 - NEAR, [[1]], layers) == pytest.approx(-1)
    assert slope_at(1 + NEAR, [[1]], layers) == 0
    assert np.isnan(slope_at(1.0, [[1]], layers))


def test_a_saturated_softmax_is_not_measured():
    """Caffe's loss has a limit there, which its gradient doesn't know."""
    scores = layer("Scale", "", "data", "x", "before")
    net = parse(
        input_layer("data", (1, 2))
        + input_layer("y", (1,))
        + scores
        + layer("SoftmaxWithLoss", "", "x y")
    )
    inputs = {"data": np.array([[1, -1]]), "y": np.array([1])}
    at = (inputs, caffe.TEST)
    for weight, limit in ((40, False), (50, True)):
        params = {"before": [np.array([weight, weight])]}
        measured = slope(net, params, *at, "before", 0, (0,))
        assert np.isnan(measured) == limit
        expected = -np.log(np.finfo(np.float32).tiny) if limit else 2 * weight
        assert objective(net, params, *at) == pytest.approx(expected)


REFUSED = {
    "drops values at random": (layer("Dropout"), caffe.TRAIN),
    "unknown type LSTM": (layer("LSTM"), caffe.TEST),
    "reads y too early": (layer("ReLU", "", "y"), caffe.TEST),
    "Expected an input z; found x": (input_layer("z", (1,)), caffe.TEST),
    "lacks parameter 0 of it": (
        layer("PReLU", 'param { name: "a" }'),
        caffe.TEST,
    ),
    "not all switches are places": (
        layer("Depooling", "pooling_param { pool: SWITCH kernel_size: 2 }", "x x"),
        caffe.TEST,
    ),
    "only MAX and AVE": (
        layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
        caffe.TEST,
    ),
    r"\(3, 2\) values pool from \(7, 6\); found \(7, 6\)": (
        layer(
            "Depooling",
            "pooling_param { pool: FIX kernel_size: 3 stride: 2 round_mode: FLOOR }",
            "x x",
        ),
        caffe.TEST,
    ),
    "Upgrade the network": ('layers { name: "x" type: RELU }', caffe.TEST),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_interpreted_is_refused(sentence):
    text, phase = REFUSED[sentence]
    net = parse(input_layer("x", SHAPE) + text)
    with pytest.raises(ValueError, match=sentence):
        forward(net, {}, values({"x": SHAPE}), phase)


def test_gaussian_noise_is_the_identity_unless_training():
    text = layer("GaussianNoise", "gaussian_noise_param { std: 0.5 }")
    net = parse(input_layer("data", SHAPE) + BEFORE + text + AFTER)
    agree(net, {"data": SHAPE})
    params = {"before": [np.ones((4, 4, 1, 1)), np.ones(4)]}
    with pytest.raises(ValueError, match="adds random noise"):
        forward(net, params, values({"data": SHAPE}), caffe.TRAIN)
    net.layer[2].gaussian_noise_param.std = 0
    agree(net, {"data": SHAPE}, caffe.TRAIN)
