"""Networks of other people's making, and small ones each for one thing."""

from pathlib import Path

import caffe
import numpy as np
import pytest

from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers import arithmetic, loading

NETWORKS = ROOT / "tests/networks"
UPSTREAM = ROOT / "build/caffe-src"  # fork/build.sh makes it

COLOUR, LARGE, DIGIT = (3, 32, 32), (3, 227, 227), (1, 28, 28)
IMAGES = {
    **dict.fromkeys(("nin", "vgg_bn"), COLOUR),
    **dict.fromkeys(("oddities", "vgg19"), None),
}
UPSTREAM_IMAGES = {
    "models/bvlc_alexnet/deploy": None,
    "models/bvlc_alexnet/train_val": LARGE,
    "models/bvlc_reference_caffenet/deploy": None,
    "models/bvlc_reference_caffenet/train_val": LARGE,
    "models/bvlc_reference_rcnn_ilsvrc13/deploy": None,
    "models/finetune_flickr_style/deploy": None,
    "models/finetune_flickr_style/train_val": LARGE,
    "examples/cifar10/cifar10_full": None,
    "examples/cifar10/cifar10_full_train_test": COLOUR,
    "examples/cifar10/cifar10_full_sigmoid_train_test": COLOUR,
    "examples/cifar10/cifar10_full_sigmoid_train_test_bn": COLOUR,
    "examples/cifar10/cifar10_quick": None,
    "examples/cifar10/cifar10_quick_train_test": COLOUR,
    "examples/feature_extraction/imagenet_val": LARGE,
    "examples/finetune_pascal_detection/pascal_finetune_trainval_test": LARGE,
    "examples/hdf5_classification/nonlinear_auto_test": (4,),
    "examples/hdf5_classification/nonlinear_auto_train": (4,),
    "examples/hdf5_classification/nonlinear_train_val": (4,),
    "examples/hdf5_classification/train_val": (4,),
    "examples/mnist/lenet": None,
    "examples/mnist/lenet_train_test": DIGIT,
    "examples/mnist/mnist_autoencoder": DIGIT,
    "examples/net_surgery/bvlc_caffenet_full_conv": None,
    "examples/net_surgery/conv": None,
    "examples/siamese/mnist_siamese": None,
}
EVERY = [
    *IMAGES,
    *map(pytest.param, UPSTREAM_IMAGES),
]

DEEP = [
    *("nin", "vgg_bn", "oddities"),
    *(
        pytest.param(name)
        for name in (
            "models/bvlc_alexnet/train_val",
            "examples/mnist/lenet_train_test",
            "examples/mnist/mnist_autoencoder",
            "examples/hdf5_classification/nonlinear_train_val",
        )
    ),
]
"""Those that nothing else here resembles: loaded at all depths."""

ALIKE = [
    name
    for name in EVERY
    if getattr(name, "values", (name,))[0]
    not in {getattr(deep, "values", (deep,))[0] for deep in DEEP}
]


def file_of(name: str) -> Path:
    folder = UPSTREAM if "/" in name else NETWORKS
    return folder / f"{name}.prototxt"


def options(name: str, **more) -> Options:
    return Options("given", (IMAGES | UPSTREAM_IMAGES)[name], **more)


def read(path: Path, image=None, **more):
    return read_user_network(path, Options("given", image, **more))


FC = "inner_product_param { num_output: 5 }"


def layer(kind: str, name: str, bottom: str, rest: str = "", top: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}"'
        f' top: "{top or name}" {rest} }}\n'
    )


def convolution(name: str, bottom: str, window: str, outputs: int = 4) -> str:
    fields = f"convolution_param {{ num_output: {outputs} {window} }}"
    return layer("Convolution", name, bottom, fields)


def pooling(name: str, bottom: str, fields: str) -> str:
    return layer("Pooling", name, bottom, f"pooling_param {{ {fields} }}")


def made_of(network, kind="train_val", variant="swwae-all", depth=None):
    """Name -> layer of a generated network; the fork loads all of its plan."""
    made = plan(network, VARIANTS[variant], depth)
    loading.in_child(loading.check_plan, made)
    file = next(file for file in made.networks if file.kind == kind)
    return {layer.name: layer for layer in file.layers}


def filled(network, variant: str, seed: int = 0):
    """Its train_val with random weights and images: pycaffe's, the message, both."""
    text = loading.texts(plan(network, VARIANTS[variant]))["train_val"]
    net = loading.without_data(text, network.image.shape, network.image.blob)
    built = loading.build(net)
    random = np.random.default_rng(seed)
    params = {}
    for name, blobs in built.params.items():
        normalises = next(la.type == "BatchNorm" for la in net.layer if la.name == name)
        for index, blob in enumerate(blobs):
            fan_in = max(1, int(np.prod(blob.shape[1:])))
            blob.data[...] = random.normal(0, fan_in**-0.5, blob.shape)
            if normalises:
                blob.data[...] = random.uniform(0.5, 2, blob.shape) if index else 0
        params[name] = [blob.data.astype(np.float64) for blob in blobs]
    inputs = {}
    for layer in net.layer:
        if layer.type != "Input":
            continue
        top = layer.top[0]
        values = random.integers(0, 4, built.blobs[top].shape)
        if top == network.image.blob:
            values = random.normal(0, 1, built.blobs[top].shape)
        built.blobs[top].data[...] = values
        inputs[top] = built.blobs[top].data.astype(np.float64)
    return built, net, params, inputs


def check_arithmetic(network, variant: str) -> None:
    built, net, params, inputs = filled(network, variant)
    built.forward()
    built.backward()
    expected = arithmetic.forward(net, params, inputs, caffe.TEST)
    compared = [n for n in built.blobs if n in expected and "_split_" not in n]
    assert len(compared) > 10
    for blob in compared:
        values = expected[blob].reshape(built.blobs[blob].data.shape)
        scale = max(1e-6, np.abs(values).max())
        assert np.abs(built.blobs[blob].data - values).max() < 1e-4 * scale, blob
    types = {la.name: la.type for la in net.layer}
    learned = [n for n in params if types[n] in ("Convolution", "Deconvolution")]
    checked = 0
    for layer in {learned[0], learned[-1], *learned[::3]}:
        gradient = built.params[layer][0].diff
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        slope = arithmetic.slope(
            net, params, inputs, caffe.TEST, layer, 0, place, step=1e-5
        )
        if np.isnan(slope) or abs(slope) < 1e-9:  # a kink, or no loss reaches it
            continue
        assert gradient[place] == pytest.approx(slope, rel=2e-3), layer
        checked += 1
    assert checked
