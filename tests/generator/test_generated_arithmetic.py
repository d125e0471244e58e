"""What generated networks compute, forward and backward, against numpy in float64.

The interpreter, tests/helpers/arithmetic.py, shares nothing with Caffe or the
generator.
"""

import caffe
import numpy as np
import pytest

from generator.networks import (
    ALEXNET,
    VGG8,
    classifier,
    conv,
    inner_product,
    max_pool,
    scores,
)
from generator.sequence import Inverse
from generator.stages import plan
from generator.variants import VARIANTS
from tests.helpers import arithmetic, loading

SMALL_ALEXNET = classifier(
    "small-alexnet",
    "AlexNet's windows, strides and groups on few channels",
    (3, 51, 51),
    (
        conv("conv1", 6, 11, stride=4, pad=0) + max_pool("conv1", 3, 2),
        conv("conv2", 8, 5, pad=2, group=2) + max_pool("conv2", 3, 2),
        conv("conv3", 8, group=2),
        inner_product("fc6", 12),
        scores("fc7", 11),
    ),
    ALEXNET.data,
    ALEXNET.training.schedules[0],
    magnitude=1,
    grouped_decoder=False,
    inverses={
        "conv1": (
            Inverse("pre", "Convolution", 6, 5, pad=2),
            Inverse("body", "Deconvolution", 4, 11, stride=4),
            Inverse("post", "Deconvolution", 3, 5, pad=2),
        )
    },
)
CASES = [
    pytest.param(network, variant, depth, id=f"{network.name}-{variant.name}-{depth}")
    for network in (VGG8, SMALL_ALEXNET)
    for variant in VARIANTS.values()
    for depth in sorted({2, network.depth, network.max_depth})
    if variant.has_decoder
]


def prepared(network, variant, depth, kind, phase, seed=0):
    """A network with random weights and images: pycaffe's and the message."""
    made = plan(network, variant, depth)
    net = loading.without_data(loading.texts(made)[kind], network.image.shape, "data")
    built = loading.build(net, phase)
    random = np.random.default_rng((depth, seed))
    for blobs in built.params.values():
        fan_in = max(1, int(np.prod(blobs[0].shape[1:])))
        blobs[0].data[...] = random.normal(0, fan_in**-0.5, blobs[0].shape)
        blobs[1].data[...] = random.normal(0, 0.1, blobs[1].shape)
    spread = 60 if network is VGG8 else 1  # VGG8 brings its pixels to [0, 1] itself
    pixels = random.normal(0, spread, (loading.BATCH, *network.image.shape))
    inputs = {"data": pixels}
    if "label" in built.blobs:
        inputs["label"] = np.array([1.0, 4.0])
    for name, values in inputs.items():
        built.blobs[name].data[...] = values
        inputs[name] = built.blobs[name].data.astype(np.float64)
    params = {
        name: [blob.data.astype(np.float64) for blob in blobs]
        for name, blobs in built.params.items()
    }
    return built, net, params, inputs


@pytest.mark.parametrize(("network", "variant", "depth"), CASES)
@pytest.mark.parametrize("kind", ["train_val", "reconstruct"])
def test_every_blob_is_what_numpy_says(network, variant, depth, kind):
    for seed in range(5):
        built, net, params, inputs = prepared(
            network, variant, depth, kind, caffe.TEST, seed
        )
        built.forward()
        expected = arithmetic.forward(net, params, inputs, caffe.TEST)
        if not tied(built, expected):
            break
    else:
        pytest.fail("switches differ for every seed: that is no rounding")
    compared = 0
    for name, blob in built.blobs.items():
        if name not in expected or "_split_" in name:
            continue
        scale = max(1e-6, np.abs(expected[name]).max())
        difference = np.abs(blob.data - expected[name].reshape(blob.data.shape)).max()
        assert difference < 1e-4 * scale, name
        compared += 1
    assert compared > 10
    assert np.abs(expected["dec:data"]).max() > 1e-6, "nothing was reconstructed"


def tied(built, expected):
    """Whether two maxima of a window are so close that float32 chose the other."""
    masks = [name for name in expected if name.endswith("-mask")]
    return any((built.blobs[name].data != expected[name]).any() for name in masks)


@pytest.mark.parametrize(("network", "variant", "depth"), CASES)
def test_gradients_of_the_whole_objective_are_what_numpy_says(network, variant, depth):
    """The largest gradient of every third layer with parameters, and of the last."""
    built, net, params, inputs = prepared(
        network, variant, depth, "train_val", caffe.TEST
    )
    built.forward()
    built.backward()
    names = [name for name in params if not name.startswith("noisy:")]
    # A combinator has a kink at every place of every channel: small steps, and float32
    # lands on the other side of some.
    first_step, tolerance = (1e-6, 2e-2) if variant.ladder else (1e-4, 1e-3)
    checked = 0
    for name in {*names[::3], names[-1]}:
        gradient = built.params[name][0].diff
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        value = params[name][0][place]
        step = first_step * max(1e-2, abs(value))
        slope = arithmetic.slope(net, params, inputs, caffe.TEST, name, 0, place, step)
        if np.isnan(slope):  # a switch flips however small the step
            continue
        if abs(slope) < 1e-9:  # an encoder's layer that no loss reaches
            assert abs(gradient[place]) < 1e-7
            continue
        assert gradient[place] == pytest.approx(slope, rel=tolerance), name
        checked += 1
    assert checked >= 2
