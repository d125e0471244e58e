"""Small networks of the built-in ones' forms, with weights and photographs.

For what is imported and exported: their deploy networks, random weights that keep
activations sane, and pycaffe's answers.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import caffe
import numpy as np
import skimage
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from generator.networks import (
    TORCHVISION_DATA,
    VGG8,
    classifier,
    conv,
    inner_product,
    max_pool,
    scores,
    vgg_macro_layer,
)
from generator.sequence import Inverse, Network
from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from swwae.nets.deployed import Deployed, described
from tests.helpers import loading


def _small(name, groups, image=(3, 34, 30), **more) -> Network:
    data = replace(VGG8.data, mean_value=TORCHVISION_DATA.mean_value)
    schedule = VGG8.training.schedules[0]
    return classifier(name, name, image, groups, data, schedule, 1, **more)


def _vgg(name: str, normalised: bool) -> Network:
    groups = (
        vgg_macro_layer(1, 2, 8, normalised),
        vgg_macro_layer(2, 1, 12, normalised),
        inner_product("fc3", 16),
        scores("fc4", 11),
    )
    return _small(name, groups)


SMALL_VGG = _vgg("small_vgg", normalised=False)
SMALL_VGG_BN = _vgg("small_vgg_bn", normalised=True)
SMALL_ALEXNET = _small(
    "small_alexnet",
    (
        conv("conv1", 6, 11, stride=4, pad=2) + max_pool("conv1", 3, 2),
        conv("conv2", 8, 5, pad=2, group=2) + max_pool("conv2", 3, 2),
        conv("conv3", 8),
        inner_product("fc4", 12),
        scores("fc5", 11),
    ),
    image=(3, 63, 63),
    grouped_decoder=False,
    inverses={
        "conv1": (
            Inverse("pre", "Convolution", 6, 5, pad=2),
            Inverse("body", "Deconvolution", 4, 11, stride=4, pad=2),
            Inverse("post", "Deconvolution", 3, 5, pad=2),
        )
    },
)


def given(text: str, folder: Path) -> Network:
    """A user's network file."""
    path = folder / "given.prototxt"
    path.write_text(text)
    return read_user_network(path, Options("given", None, "pooling", None))


def deployed_of(
    network: Network, variant: str, folder: Path, depth: int | None = None
) -> Deployed:
    """Its deploy network; its data layers go to a file in the folder."""
    texts = loading.texts(plan(network, VARIANTS[variant], depth))
    train_val = folder / "train_val.prototxt"
    train_val.write_text(texts["train_val"])
    layers = text_format.Parse(texts["deploy"], caffe_pb2.NetParameter())
    return described(network.name, variant, "deploy.prototxt", layers, train_val)


def weighted(net: Deployed, out: Path, seed: int = 0) -> caffe.Net:
    """The network with random weights (He et al. 2015), which are saved, too."""
    with net.file() as path:
        built = caffe.Net(str(path), caffe.TEST)
    random = np.random.default_rng(seed)
    types = {layer.name: layer.type for layer in net.layers.layer}
    for name, blobs in built.params.items():
        shape = blobs[0].shape
        if types[name] == "BatchNorm":
            blobs[0].data[...] = random.normal(0, 0.6, shape)
            blobs[1].data[...] = random.uniform(1, 4, shape)
            blobs[2].data[...] = 2  # sums over two batches
            continue
        deviation = (2 / max(1, np.prod(shape[1:]))) ** 0.5
        blobs[0].data[...] = random.normal(0, deviation, shape)
        if types[name] in ("Scale", "PReLU"):
            blobs[0].data[...] = random.uniform(0.5, 1.5, shape)
        for blob in list(blobs)[1:]:
            blob.data[...] = random.normal(0, 0.1, blob.shape)
    built.save(str(out))
    return built


PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@cache
def photographs(height: int, width: int, count: int = 2) -> np.ndarray:
    """(N, 3, H, W), RGB in [0, 1]: from scikit-image's wheel."""
    folder = Path(skimage.__file__).parent / "data"
    pictures = []
    for name in PHOTOGRAPHS[:count]:
        with Image.open(folder / name) as picture:
            pictures.append(np.asarray(picture.convert("RGB").resize((width, height))))
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255


def images_of(net: Deployed, count: int = 2) -> np.ndarray:
    """Photographs as a network's, grey ones for one channel; in [0, 1]."""
    rgb = photographs(*net.image[1:], count)
    return rgb if net.image[0] == 3 else rgb.mean(axis=1, keepdims=True)


def mean_subtracted(
    net: Deployed,
    images: np.ndarray,
    mean: Iterable[float] = TORCHVISION_DATA.mean_value,
) -> np.ndarray:
    """What the data layer makes of images in [0, 1]: BGR in 0..255, less `mean`."""
    mean = np.array(list(mean), np.float64).reshape(1, -1, 1, 1)
    return (images[:, ::-1] * 255.0 - mean).astype(np.float32)


def answer(built: caffe.Net, data: np.ndarray) -> dict[str, np.ndarray]:
    """Every blob that pycaffe yields for a batch."""
    blob = built.inputs[0]
    built.blobs[blob].reshape(*data.shape)
    built.blobs[blob].data[...] = data
    built.forward()
    return {name: blob.data.copy() for name, blob in built.blobs.items()}


def assert_close(found, expected, tolerance=1e-4):
    """Within a tolerance relative to the largest expected; not all the same."""
    scale = np.abs(expected).max()
    assert scale > 1e-6 and expected.std() > 1e-4 * scale
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * scale


def deployed_text(text: str) -> Deployed:
    """A deploy network as it is written."""
    layers = text_format.Parse(text, caffe_pb2.NetParameter())
    none = Path("no such file")
    return described("text", "baseline", "deploy.prototxt", layers, none)
