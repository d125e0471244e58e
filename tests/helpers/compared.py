"""Small networks, computed by the interpreter and by pycaffe."""

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.helpers import arithmetic
from tests.helpers.arithmetic import forward, objective, slope
from tests.helpers.loading import build

PLACES = 4  # ... of each parameter are measured
SHAPE = (2, 4, 7, 6)


def parse(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def input_layer(name, shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}"
    )


def layer(type_, settings="", bottoms="x", tops="out", name="it"):
    """One layer's text; bottoms and tops are names with spaces between."""
    ends = [f'bottom: "{blob}"' for blob in bottoms.split()]
    ends += [f'top: "{blob}"' for blob in tops.split()]
    return f'layer {{ name: "{name}" type: "{type_}" {" ".join(ends)} {settings} }}'


# What comes before and after the layers of a case: a 1 × 1 convolution of `data` to
# `x`, so that there is something to measure slopes in; and as objective half the sum of
# (out + 0.3)³, which weighs every value of `out` differently, normalized ones too.
BEFORE = layer(
    "Convolution",
    "convolution_param { num_output: 4 kernel_size: 1 }",
    "data",
    "x",
    "before",
)


AFTER = layer(
    "Power", "loss_weight: 0.5 power_param { power: 3 shift: 0.3 }", "out", "end", "end"
)


def values(inputs):
    """Random ones for name -> shape, or as given."""
    random = np.random.default_rng(5)
    return {
        name: random.normal(0, 1, given) if isinstance(given, tuple) else given
        for name, given in inputs.items()
    }


def fill(built):
    """Random parameters, away from what would hide a mistake (0, 1, equal ones)."""
    random = np.random.default_rng(6)
    types = dict(zip(built._layer_names, built.layers, strict=True))
    for name, blobs in built.params.items():
        for blob in blobs:
            fan_in = np.prod(blob.shape[1:])
            blob.data[...] = random.normal(0, fan_in**-0.5, blob.shape)
            if types[name].type == "BatchNorm":
                blob.data[...] = random.uniform(0.5, 2, blob.shape)
    return {
        name: [blob.data.astype(np.float64) for blob in blobs]
        for name, blobs in built.params.items()
    }


def close(actual, expected, what, relative=1e-4):
    assert np.shape(actual) == np.shape(expected), what
    absolute = relative / 10 * np.abs(expected).max(initial=0)
    np.testing.assert_allclose(actual, expected, relative, absolute, err_msg=str(what))


def agree(net, inputs, phase=caffe.TEST):
    """Compares all blobs, the objective, and some slopes of every parameter."""
    built = build(net, phase)
    inputs = values(inputs)
    params = fill(built)
    for name, array in inputs.items():
        built.blobs[name].data[...] = array
        inputs[name] = built.blobs[name].data.astype(np.float64)
    total = built._forward(0, len(built.layers) - 1)
    blobs = forward(net, params, inputs, phase)
    for name, blob in blobs.items():
        close(built.blobs[name].data, blob, name)
    close(total, objective(net, params, inputs, phase), "objective")

    built.backward()
    random = np.random.default_rng(7)
    types = {la.name: la.type for la in arithmetic.layers_in(net, phase)}
    for name, arrays in params.items():
        if types[name] == "BatchNorm":
            continue  # Caffe doesn't train its statistics.
        # The layer's largest: a bias before a normalization has slope 0, but noise.
        largest = max(float(np.abs(blob.diff).max()) for blob in built.params[name])
        for index, array in enumerate(arrays):
            diff = built.params[name][index].diff
            for flat in random.permutation(array.size)[:PLACES]:
                place = np.unravel_index(flat, array.shape)
                measured = slope(net, params, inputs, phase, name, index, place)
                what = (name, index, place)
                assert measured == pytest.approx(
                    diff[place], rel=1e-3, abs=1e-4 * largest
                ), what
    return blobs
