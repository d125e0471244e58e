"""A Model as a library: features, reconstructions, mistakes, and in which order it
loads."""

import subprocess
import sys
from types import SimpleNamespace

import caffe
import numpy as np
import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.evaluation import model as module
from swwae.evaluation.model import FullyConvolutional, Model
from swwae.nets import building
from swwae.nets import weights as weight_files
from tests.helpers import made_runs


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "swwae-all.caffemodel"
    made_runs.random_weights("swwae-all", path)
    return path


@pytest.fixture(scope="module")
def model(weights):
    return Model("vgg8", "swwae-all", weights=weights)


@pytest.fixture(scope="module")
def pixels():
    """More than a batch takes."""
    return np.random.default_rng(1).integers(0, 256, (53, 32, 32), dtype=np.uint8)


def test_features_are_the_blobs(model, weights, pixels):
    net = caffe.Net(
        str(ROOT / "models/vgg8/swwae-all/deploy.prototxt"),
        caffe.TEST,
        weights=str(weights),
    )
    mean = model.preprocessing.mean[0]
    for name in ("data", "conv1_2", "conv2_2/pool", "fc4", "dec:data"):
        found = model.features(pixels, name)
        assert found.dtype == np.float32 and len(found) == 53
        assert found.shape[1:] == model.blobs[name]
        for place in (0, 52):
            net.blobs["data"].reshape(1, 1, 32, 32)
            net.blobs["data"].data[0, 0] = pixels[place] - np.float32(mean)
            net.forward()
            expected = net.blobs[name].data[0]
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found[place], expected, atol=1e-5 * scale)


def test_reconstructions_from_any_depth(model, weights, pixels):
    lower = Model("vgg8", "swwae-all", 1, weights)
    found = model.reconstruct(pixels[:3], depth=1)
    expected = lower.reconstruct(pixels[:3])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.originals, pixels[:3])
    difference = (found.images / 255.0 - pixels[:3] / 255.0) ** 2
    assert not np.array_equal(found.images, model.reconstruct(pixels[:3]).images)
    assert (found.errors >= difference.reshape(3, -1).sum(1) * 0.99).all(), (
        "those of the unclipped ones are no smaller"
    )
    with pytest.raises(UserError, match="--depth 9"):
        model.reconstruct(pixels[:3], depth=9)


@pytest.mark.parametrize("depth", ["2", 2.5, [1], float("nan")])
def test_a_depth_is_a_whole_number(model, pixels, weights, depth):
    with pytest.raises(UserError, match="no whole number"):
        model.reconstruct(pixels[:1], depth=depth)
    with pytest.raises(UserError, match="no whole number"):
        Model("vgg8", "swwae-all", depth, weights)


def test_a_gpu_that_is_not_there_is_a_sentence(weights):
    """Caffe would end the process, a notebook's kernel with all that it holds."""
    with pytest.raises(UserError, match="--gpu 99: "):
        Model("vgg8", "swwae-all", weights=weights, gpu=99)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "there are no images"),
        (np.zeros((2, 32, 32)), "image 0 is of type float64; uint8"),
        (np.zeros((32, 32), np.uint8), "shape \\(32, 32\\)"),
        (np.zeros((32, 32, 3), np.uint8), "given as \\[image\\]"),
        ([np.zeros((32, 32, 4), np.uint8)], "shape \\(32, 32, 4\\)"),
        ([np.zeros((0, 32), np.uint8)], "image 0 has the shape"),
        (["nowhere.png"], "no image nowhere.png"),
        (["unseen:cat"], "no image unseen:cat"),
    ],
)
def test_what_is_no_image_is_a_sentence(model, images, words):
    with pytest.raises(UserError, match=words):
        model.classify(images)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        ("conv2_2pool", "no blob conv2_2pool; near ones are conv2_2/pool"),
        ("conv1_2/relu", "the layer conv1_2/relu leaves its values in conv1_2"),
        ("zzzz", "no blob zzzz; there are data, "),
    ],
)
def test_an_unknown_blob_is_a_sentence_with_near_ones(model, pixels, blob, words):
    with pytest.raises(UserError, match=words):
        model.features(pixels[:1], blob)


def test_a_classifier_reconstructs_nothing(weights, pixels, tmp_path):
    made_runs.random_weights("baseline", tmp_path / "baseline.caffemodel")
    plain = Model("vgg8", "baseline", weights=tmp_path / "baseline.caffemodel")
    with pytest.raises(UserError, match="baseline has no decoder; choose sae"):
        plain.reconstruct(pixels[:1])
    whole = FullyConvolutional("vgg8", "swwae-all", weights=weights)
    with pytest.raises(UserError, match="fully convolutional network has no decoder"):
        whole.reconstruct(pixels[:1])


def test_the_fully_convolutional_one_classifies_images_of_any_size(weights):
    whole = FullyConvolutional("vgg8", "swwae-all", weights=weights)
    random = np.random.default_rng(2)
    sizes = [(32, 32), (40, 36), (40, 36), (20, 25), (32, 32)]
    images = [random.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    together = whole.classify(images)
    alone = np.concatenate([whole.classify([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.shape == (5, 10)


def test_features_of_images_that_differ_in_size_are_no_array(weights):
    whole = FullyConvolutional("vgg8", "swwae-all", weights=weights)
    images = [np.zeros(size, np.uint8) for size in [(32, 32), (64, 48)]]
    assert whole.features(images[1:], "conv2_2/pool").shape == (1, 32, 16, 12)
    with pytest.raises(UserError, match=r"\(32, 8, 8\), \(32, 16, 12\), as the images"):
        whole.features(images, "conv2_2/pool")


@pytest.mark.parametrize("kind", [Model, FullyConvolutional])
def test_weights_are_checked_before_a_gpu_is_entered(
    kind, weights, tmp_path, monkeypatch
):
    """CUDA does not survive the fork in which the network is built for the check."""
    steps = []

    def noted(step, function):
        def call(*given, **more):
            steps.append(step)
            return function(*given, **more)

        return call

    monkeypatch.setattr(weight_files, "load", noted("check", weight_files.load))
    monkeypatch.setattr(building, "_build", noted("child", building._build))
    stub = SimpleNamespace(
        set_device=lambda number: steps.append(f"device {number}"),
        set_mode_gpu=lambda: steps.append("gpu"),
        set_mode_cpu=caffe.set_mode_cpu,
        TEST=caffe.TEST,
        Net=noted("net", caffe.Net),
    )
    monkeypatch.setattr(module, "caffe", stub)
    monkeypatch.setattr(module.devices, "choose", lambda caffe, wanted: ([1], "GPU 1"))
    kind("vgg8", "swwae-all", weights=weights, gpu=1)
    first = steps.index("device 1")
    assert steps[first:] == ["device 1", "gpu", "net"]
    assert set(steps[:first]) == {"check", "child"}
    steps.clear()
    with pytest.raises(UserError):
        kind("vgg8", "swwae-all", weights=tmp_path / "none.caffemodel", gpu=1)
    assert "gpu" not in steps


@pytest.fixture
def free(monkeypatch):
    """Says how many MB of the GPU's memory are free; the CPU computes instead."""
    cpu = caffe.set_mode_cpu
    stub = SimpleNamespace(
        set_device=lambda number: None,
        set_mode_gpu=cpu,
        set_mode_cpu=cpu,
        TEST=caffe.TEST,
        Net=caffe.Net,
    )
    monkeypatch.setattr(module, "caffe", stub)
    monkeypatch.setattr(module.devices, "choose", lambda caffe, wanted: ([1], "GPU 1"))
    monkeypatch.setenv("CAFFE_CUDNN_WORKSPACE_MB", "0")

    def set_free(megabytes):
        monkeypatch.setattr(module.devices, "free_memory", lambda gpu: megabytes << 20)

    set_free(10_000)
    return set_free


def test_a_batch_is_as_large_as_the_gpus_memory_allows(weights, free, pixels):
    model = Model("vgg8", "swwae-all", weights=weights, gpu=1)
    shape = (1, 32, 32)
    assert model.batch_size(shape) == module.LARGEST_BATCH
    free(3)
    fewer = model.batch_size(shape)
    assert 1 <= fewer < module.LARGEST_BATCH
    # which then compute, and are counted as held
    assert model.classify(pixels).shape == (len(pixels), 10)
    free(0)
    assert model.batch_size(shape) >= min(fewer, len(pixels)) - 1


def test_a_batch_too_large_for_the_gpu_is_a_sentence(weights, free):
    """Caffe would end the process, a notebook's kernel with all that it holds."""
    model = Model("vgg8", "swwae-all", weights=weights, gpu=1)
    free(5)
    with pytest.raises(UserError) as refusal:
        model(np.zeros((2000, 1, 32, 32), np.float32))
    said = str(refusal.value)
    assert said.startswith(
        "GPU 1 has 5 MB of its memory free, and vgg8 swwae-all takes"
    )
    assert "MB more (an estimate) for 2000 images of 1x32x32 at a time; take at" in said
    assert said.endswith(" (evaluate.py's --batch), or end what else computes there.")
    free(0)
    with pytest.raises(UserError, match="; end what else computes there, or take"):
        model(np.zeros((1, 1, 32, 32), np.float32))


def test_a_gpu_without_room_for_cuda_is_a_sentence(weights, free):
    free(100)
    with pytest.raises(UserError, match="GPU 1 has 100 MB .* than the 600 MB that"):
        Model("vgg8", "swwae-all", weights=weights, gpu=1)


SECOND_MODEL = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import swwae

images = np.zeros((8, 32, 32), np.uint8)
for _ in range(2):
    model = swwae.Model("vgg8", "swwae-all", weights=sys.argv[2])
    print(model.classify(images).shape)
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_second_model_in_one_process(threads, weights):
    """Its weights are checked in a child, which has none of OpenMP's threads."""
    done = subprocess.run(
        [sys.executable, "-c", SECOND_MODEL, ROOT, weights],
        capture_output=True,
        text=True,
        timeout=100,
        env={"OMP_NUM_THREADS": threads, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["(8, 10)"] * 2
