"""deploy_conv and its weights against the classifier they come from."""

import subprocess
import sys

import caffe
import numpy as np
import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.nets import building, weights
from swwae.nets.convolution import converted

MODELS = ROOT / "models/vgg8/baseline"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """vgg8 with random weights, and its file."""
    net = caffe.Net(str(MODELS / "deploy.prototxt"), caffe.TEST)
    random = np.random.default_rng(4)
    for blobs in net.params.values():
        scale = (2 / np.prod(blobs[0].shape[1:])) ** 0.5
        blobs[0].data[...] = random.normal(0, scale, blobs[0].shape)
        blobs[1].data[...] = random.normal(0, 0.1, blobs[1].shape)
    path = tmp_path_factory.mktemp("weights") / "vgg8.caffemodel"
    net.save(str(path))
    return net, path


@pytest.fixture(scope="module")
def convolutional(classifier, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "conv.caffemodel"
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tools/to_convolution.py",
            *("--net", "vgg8", "--weights", classifier[1], "--out", out),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "fc4, fc5" in done.stdout
    prototxt = MODELS / "deploy_conv.prototxt"
    return caffe.Net(str(prototxt), caffe.TEST, weights=str(out))


def images(*shape):
    return np.random.default_rng(1).uniform(-56, 199, shape)


def test_at_the_training_size_it_computes_what_the_classifier_does(
    classifier, convolutional
):
    data = images(3, 1, 32, 32)
    for net in (classifier[0], convolutional):
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        net.forward()
    expected = classifier[0].blobs["prob"].data
    found = convolutional.blobs["prob"].data
    assert found.shape == (3, 10, 1, 1)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found[..., 0, 0], expected, atol=1e-5)


def test_on_a_larger_image_it_averages_the_scores_of_every_place(
    classifier, convolutional
):
    """fc4 and fc5 applied by hand to every 4x4 window of the last pooling."""
    data = images(1, 1, 56, 48)
    convolutional.blobs["data"].reshape(*data.shape)
    convolutional.blobs["data"].data[...] = data
    convolutional.forward()
    pooled = convolutional.blobs["conv3_2/pool"].data[0].astype(float)
    assert pooled.shape == (64, 7, 6)
    (w4, b4), (w5, b5) = (
        [blob.data.astype(float) for blob in classifier[0].params[name]]
        for name in ("fc4", "fc5")
    )
    scores = []
    for y in range(4):
        for x in range(3):
            window = pooled[:, y : y + 4, x : x + 4].ravel()
            scores.append(w5 @ np.maximum(w4 @ window + b4, 0) + b5)
    mean = np.mean(scores, axis=0)
    expected = np.exp(mean - mean.max())
    np.testing.assert_allclose(
        convolutional.blobs["prob"].data[0, :, 0, 0],
        expected / expected.sum(),
        atol=1e-4,
    )


def test_transposed_weights_are_turned(classifier):
    given = weights.load(classifier[1])
    wanted = building.parameter_shapes(MODELS / "deploy_conv.prototxt")
    plain, _ = converted(given, wanted, set())
    layer = next(la for la in given.layer if la.name == "fc4")
    turned = weights.array(layer.blobs[0]).T
    layer.blobs[0].data[:] = turned.ravel()
    layer.blobs[0].shape.dim[:] = turned.shape
    result, _ = converted(given, wanted, {"fc4"})
    assert result == plain


def test_weights_of_another_network_are_refused(classifier):
    given = weights.load(classifier[1])
    wanted = building.parameter_shapes(MODELS / "deploy_conv.prototxt")
    with pytest.raises(UserError, match="conv9"):
        converted(given, wanted | {"conv9": [(1, 1)]}, set())
    with pytest.raises(UserError, match="another size"):
        converted(given, wanted | {"fc4/conv": [(256, 64, 5, 5), (256,)]}, set())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--net", "vgg61"], "did you mean"),
        (["--net", "vgg8", "--weights", "no.caffemodel"], "cannot be read"),
    ],
)
def test_mistakes_are_sentences(arguments, words, tmp_path):
    out = tmp_path / "out.caffemodel"
    done = subprocess.run(
        [sys.executable, ROOT / "tools/to_convolution.py", *arguments, "--out", out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
