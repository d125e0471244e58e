"""Networks of other people's making: read, mirrored, loaded by the fork, kept as they
are."""

import subprocess
from functools import cache
from pathlib import Path

import loading
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.given import Options, read_given
from generator.stages import plan
from generator.variants import VARIANTS
from runtime import ROOT

NETWORKS = ROOT / "tests/networks"
UPSTREAM = ROOT / "build/caffe-src"
UPGRADE = ROOT / "build/caffe/bin/upgrade_net_proto_text"

needs_upstream = pytest.mark.skipif(
    not UPSTREAM.is_dir(), reason="no Caffe sources in build/caffe-src: fork/build.sh"
)

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
    *(pytest.param(name, marks=needs_upstream) for name in UPSTREAM_IMAGES),
]

AT_ALL_DEPTHS = (
    *("nin", "vgg_bn", "oddities"),
    *("models/bvlc_alexnet/train_val", "examples/mnist/lenet_train_test"),
    *("examples/mnist/mnist_autoencoder", "examples/cifar10/cifar10_quick"),
    "examples/hdf5_classification/nonlinear_train_val",
)
"""The others resemble one of these, or are VGG-19: their default and deepest depths."""


def file_of(name: str) -> Path:
    folder = UPSTREAM if "/" in name else NETWORKS
    return folder / f"{name}.prototxt"


def options(name: str, **more) -> Options:
    return Options("given", (IMAGES | UPSTREAM_IMAGES)[name], **more)


def read(path: Path, image=None, **more):
    return read_given(path, Options("given", image, **more))


@pytest.fixture(scope="session")
def thin(tmp_path_factory):
    """name -> a network, read from a copy without wide layers."""
    folder = tmp_path_factory.mktemp("thin")

    @cache
    def network(name: str, group: str = "pooling"):
        copy = folder / f"{name.replace('/', '-')}.prototxt"
        copy.write_text(loading.thinned(file_of(name).read_text()))
        return read_given(copy, options(name, group=group))

    return network


def depths(network, variant, name):
    if not variant.has_decoder:
        return [network.depth]
    if name in AT_ALL_DEPTHS:
        return range(1, network.max_depth + 1)
    return sorted({network.depth, network.max_depth})


# --- loaded by the fork


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("name", EVERY)
def test_the_fork_loads_what_becomes_of_it(name, variant, thin):
    """Of every variant; shapes are as said, the reconstruction has the image's."""
    network = thin(name)
    if variant.name in ("sae-first", "sae-layerwise") and name not in AT_ALL_DEPTHS:
        return  # swwae-* shows as much
    for depth in depths(network, variant, name):
        made = plan(network, variant, depth)
        loading.in_child(lambda: loading.check_plan(made))


@pytest.mark.parametrize("name", ["nin", "vgg_bn", "oddities"])
def test_the_fork_loads_it_layer_by_layer(name, thin):
    """A macro-layer for every convolution: deeper, and with more to reconstruct."""
    network = thin(name, "layer")
    assert network.max_depth > thin(name).max_depth
    for depth in range(1, network.max_depth + 1):
        made = plan(network, VARIANTS["swwae-all"], depth)
        loading.in_child(lambda: loading.check_plan(made))


@needs_upstream
def test_googlenet_is_mirrored_as_far_as_it_is_sequential(thin, tmp_path):
    copy = tmp_path / "googlenet.prototxt"
    path = UPSTREAM / "models/bvlc_googlenet/train_val.prototxt"
    copy.write_text(loading.thinned(path.read_text()))
    network = read(copy, LARGE)
    assert "inception_3a/1x1" in network.limit
    assert "--depth 2" in network.limit
    assert network.max_depth == 2
    for variant in VARIANTS.values():
        made = plan(network, variant, 2)
        loading.in_child(lambda: loading.check_plan(made))


@needs_upstream
@pytest.mark.parametrize(
    ("name", "image", "complaint"),
    [
        (
            "examples/siamese/mnist_siamese_train_test",
            (2, 28, 28),
            "'slice_pair'.*Slice",
        ),
        ("examples/pycaffe/linreg", (10,), "'ipy' reads a second input, 'y'"),
    ],
)
def test_what_is_not_sequential_is_refused_with_the_layer(name, image, complaint):
    with pytest.raises(UserError, match=complaint):
        read(UPSTREAM / f"{name}.prototxt", image)


# --- kept as it is


def upgraded(path: Path, folder: Path) -> caffe_pb2.NetParameter:
    """The file in today's syntax, by Caffe's own program."""
    target = folder / "upgraded.prototxt"
    subprocess.run([UPGRADE, path, target], check=True, capture_output=True)
    return loading.read(target)


def stripped(net: caffe_pb2.NetParameter, own: caffe_pb2.NetParameter, image: str):
    """A train_val without what augmentation has added."""
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    tops = {(la.name, top) for la in own.layer for top in la.top}
    for layer in net.layer:
        if layer.name.startswith("dec:") or layer.name == f"{image}/scaled":
            continue
        kept = result.layer.add()
        kept.CopyFrom(layer)
        for top in layer.top:
            if top.endswith("-mask") and (layer.name, top) not in tops:
                kept.top.remove(top)
    return result


@pytest.mark.parametrize("name", EVERY)
def test_without_what_was_added_it_is_the_users_own(name, tmp_path):
    """Layer by layer, field by field, at its full width; name and other fields, too."""
    own = upgraded(file_of(name), tmp_path)
    network = read_given(file_of(name), options(name))
    for layer in own.layer:
        del layer.blobs[:]
    for variant in ("baseline", "swwae-all", "sae-first", "swwae-layerwise"):
        for depth in {network.depth, network.max_depth}:
            made = plan(network, VARIANTS[variant], depth)
            text = loading.texts(made)["train_val"]
            net = text_format.Parse(text, caffe_pb2.NetParameter())
            rest = stripped(net, own, network.image.blob)
            if not own.name:
                rest.ClearField("name")
            assert [la.name for la in rest.layer] == [la.name for la in own.layer]
            for kept, before in zip(rest.layer, own.layer, strict=True):
                assert kept == before
            assert rest == own
