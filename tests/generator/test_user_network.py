"""Networks of other people's making: read, mirrored, loaded by the fork, kept as they
are."""

import os
import re
import shlex
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

import caffe
import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from generator.__main__ import main
from generator.errors import UserError
from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers import arithmetic, loading

NETWORKS = ROOT / "tests/networks"
UPSTREAM = ROOT / "build/caffe-src"  # fork/build.sh makes it
UPGRADE = ROOT / "build/caffe/bin/upgrade_net_proto_text"

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


@pytest.fixture(scope="session")
def thin(tmp_path_factory):
    """name -> a network, read from a copy without wide layers."""
    folder = tmp_path_factory.mktemp("thin")

    @cache
    def network(name: str, group: str = "pooling"):
        copy = folder / f"{name.replace('/', '-')}.prototxt"
        copy.write_text(loading.thinned(file_of(name).read_text()))
        return read_user_network(copy, options(name, group=group))

    return network


# --- loaded by the fork


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("name", DEEP)
def test_the_fork_loads_every_depth(name, variant, thin):
    """Of every variant; shapes are as said, the reconstruction has the image's."""
    network = thin(name)
    depths = range(1, network.max_depth + 1)
    if not variant.has_decoder:
        depths = [network.depth]
    loading.in_child(loading.check_plans, [plan(network, variant, d) for d in depths])


@pytest.mark.parametrize("name", ALIKE)
def test_the_fork_loads_the_most_different_variants(name, thin):
    variants = ("swwae-all", "sae-layerwise", "ladder")
    plans = [plan(thin(name), VARIANTS[variant]) for variant in variants]
    loading.in_child(loading.check_plans, plans)


@pytest.mark.parametrize("name", ["nin", "vgg_bn", "oddities"])
def test_the_fork_loads_it_layer_by_layer(name, thin):
    """A macro-layer for every convolution: deeper, and with more to reconstruct."""
    network = thin(name, "layer")
    assert network.max_depth > thin(name).max_depth
    for variant in ("swwae-all", "ladder"):
        made = plan(network, VARIANTS[variant], network.max_depth)
        loading.in_child(loading.check_plan, made)


def test_googlenet_is_mirrored_as_far_as_it_is_sequential(thin, tmp_path):
    copy = tmp_path / "googlenet.prototxt"
    path = UPSTREAM / "models/bvlc_googlenet/train_val.prototxt"
    copy.write_text(loading.thinned(path.read_text()))
    network = read(copy, LARGE)
    assert "inception_3a/1x1" in network.limit
    assert "--depth 2" in network.limit
    assert network.max_depth == 2
    plans = [plan(network, variant, 2) for variant in VARIANTS.values()]
    loading.in_child(loading.check_plans, plans)


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
    network = read_user_network(file_of(name), options(name))
    for layer in own.layer:
        del layer.blobs[:]
    for variant, depth in (
        ("baseline", network.depth),
        ("swwae-all", network.depth),
        ("swwae-layerwise", network.max_depth),
    ):
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


LOSSES = ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "EuclideanLoss")


@pytest.mark.parametrize("name", EVERY)
def test_a_ladder_too_is_the_users_own_but_for_names_and_losses(name, tmp_path):
    """Parameters have names, by which the noisy encoder shares them; in training, the
    losses read the noisy encoder."""
    own = upgraded(file_of(name), tmp_path)
    network = read_user_network(file_of(name), options(name))
    text = loading.texts(plan(network, VARIANTS["ladder"]))["train_val"]
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    ours = ("noisy:", "dec:", f"{network.image.blob}/scaled")
    kept = [
        layer
        for layer in net.layer
        if not layer.name.startswith(ours) and not layer.name.endswith("/silence")
    ]
    assert [la for la in kept if la.type not in LOSSES] == [
        unlike_param(layer, kept) for layer in own.layer if layer.type not in LOSSES
    ]
    for layer in own.layer:
        if layer.type not in LOSSES:
            continue
        made = [la for la in kept if (la.name, la.type) == (layer.name, layer.type)]
        for phase in layer.include or (caffe_pb2.NetStateRule(phase=p) for p in (0, 1)):
            loss = next(la for la in made if phase.phase in phases_of(la))
            bottoms = [b.removeprefix("noisy:") for b in loss.bottom]
            bottoms = [b.removesuffix("/noise") for b in bottoms]
            assert bottoms == list(layer.bottom)
            noisy = any(b.startswith("noisy:") for b in loss.bottom)
            assert noisy == (phase.phase == caffe_pb2.TRAIN)
            assert loss.top == layer.top
            assert loss.loss_weight == layer.loss_weight


def phases_of(layer) -> set[int]:
    return {rule.phase for rule in layer.include} or {0, 1}


def unlike_param(layer, made: list):
    """The layer, with the multipliers of the layer of its name that was made, where
    these are the same but for the names."""
    twin = next(
        la for la in made if la.name == layer.name and la.include == layer.include
    )
    result = caffe_pb2.LayerParameter()
    result.CopyFrom(layer)
    if not twin.param:
        return result
    for index, spec in enumerate(twin.param):
        before = (
            layer.param[index] if index < len(layer.param) else caffe_pb2.ParamSpec()
        )
        own_name = before.name or f"{layer.name}/{index}"
        assert spec.name == own_name
        fixed = layer.type == "BatchNorm"
        assert spec.lr_mult == (0 if fixed else before.lr_mult)
        assert spec.decay_mult == before.decay_mult
    del result.param[:]
    result.param.extend(twin.param)
    return result


# --- small networks, each for one thing

INPUT = (
    'layer {{ name: "data" type: "Input" top: "data"'
    " input_param {{ shape {{ dim: 1 dim: {} dim: {} dim: {} }} }} }}\n"
)
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


@pytest.fixture
def parsed(tmp_path):
    """Text -> network."""

    def parsed(text: str, image=None, **more):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return read(path, image, **more)

    return parsed


def made_of(network, kind="train_val", variant="swwae-all", depth=None):
    """Name -> layer of a generated network; the fork loads all of its plan."""
    made = plan(network, VARIANTS[variant], depth)
    loading.in_child(loading.check_plan, made)
    file = next(file for file in made.networks if file.kind == kind)
    return {layer.name: layer for layer in file.layers}


def test_the_old_syntax_says_the_same(tmp_path):
    """VGG-19 in the syntax of 2013 and in today's become the same networks."""
    new = tmp_path / "vgg19.prototxt"
    new.write_text(text_format.MessageToString(upgraded(file_of("vgg19"), tmp_path)))
    assert "layers {" in file_of("vgg19").read_text()
    assert "layers {" not in new.read_text()
    texts = []
    for path in (file_of("vgg19"), new):
        made = loading.texts(plan(read(path), VARIANTS["swwae-all"]))
        texts.append([without_head(text) for text in made.values()])
    assert texts[0] == texts[1]


def without_head(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line[:1] != "#")


@pytest.mark.parametrize(
    ("sides", "window", "kernel", "cropped"),
    [
        ((16, 16), "kernel_size: 4 stride: 2 pad: 1", None, False),
        ((17, 16), "kernel_size: 4 stride: 2 pad: 1", (5, 4), False),
        ((20, 23), "kernel_size: 5 stride: 4", (8, 7), False),
        ((20, 23), "kernel_h: 5 kernel_w: 3 stride_h: 4 stride_w: 1", (8, 3), False),
        ((18, 18), "kernel_size: 3 stride: 2 dilation: 2", (4, 4), True),
        ((19, 17), "kernel_size: 3 stride: 3 dilation: 2", (4, 3), False),
    ],
)
def test_what_a_stride_leaves_over_is_reconstructed(
    sides, window, kernel, cropped, parsed
):
    """The deconvolution's kernel grows by it; dilated, in steps, and what is too much
    is cropped."""
    text = INPUT.format(3, *sides) + convolution("conv", "data", window)
    made = made_of(parsed(text + layer("InnerProduct", "fc", "conv", FC)))
    fields = made["dec:conv"].fields["convolution_param"]
    assert ("dec:conv/crop" in made) == cropped
    if kernel is None:
        assert fields["kernel_size"] == [4]
    else:
        assert (fields["kernel_h"], fields["kernel_w"]) == kernel
        assert "kernel_size" not in fields


@pytest.mark.parametrize(
    ("side", "fields", "normalised", "shaped"),
    [
        (16, "kernel_size: 2 stride: 2", False, False),
        (15, "kernel_size: 2 stride: 2", False, True),
        (15, "kernel_size: 3 stride: 2", True, False),
        (16, "kernel_size: 3 stride: 2", True, True),
        (15, "kernel_size: 3 stride: 2 pad: 1", True, False),
        (16, "kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 3", False, True),
        (16, "global_pooling: true", False, True),
    ],
)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_unpooling_knows_the_size_and_divides_where_windows_overlap(
    side, fields, normalised, shaped, method, parsed
):
    text = INPUT.format(1, side, side)
    text += convolution("conv", "data", "kernel_size: 3 pad: 1")
    text += pooling("pool", "conv", f"pool: {method} {fields}")
    made = made_of(parsed(text + layer("InnerProduct", "fc", "pool", FC)))
    unpool = made["dec:conv/unpool"]
    assert ("dec:conv/unpool/mask-inv" in made) == normalised
    assert made.get("dec:conv/unpool/mask-inv", unpool).type in ("SafeInv", "Depooling")
    assert len(unpool.tops) == (2 if normalised else 1)
    bottoms = [
        *(["pool-mask"] if method == "MAX" else []),
        *(["conv"] if shaped else []),
    ]
    assert list(unpool.bottoms[1:]) == bottoms
    assert made["pool"].tops == (
        ("pool", "pool-mask") if method == "MAX" else ("pool",)
    )


def test_a_pooled_image_is_unpooled_last(parsed):
    text = INPUT.format(3, 17, 17) + pooling("half", "data", "kernel_size: 2 stride: 2")
    text += convolution("conv", "half", "kernel_size: 3")
    made = made_of(parsed(text + layer("InnerProduct", "fc", "conv", FC)))
    assert made["dec:conv"].tops == ("dec:data/pooled",)
    assert made["dec:half/unpool"].bottoms == ("dec:data/pooled", "half-mask", "data")
    assert made["dec:half/unpool"].tops == ("dec:data",)


def test_a_pooled_image_may_be_flattened(parsed):
    """Without a convolution, the inner product's mirror image is a map again."""
    text = INPUT.format(2, 8, 8) + pooling("half", "data", "kernel_size: 2 stride: 2")
    text += layer("Flatten", "flat", "half") + layer("InnerProduct", "fc", "flat", FC)
    made = made_of(parsed(text), depth=1)
    reshape = next(la for la in made.values() if la.type == "Reshape")
    assert reshape.shape == (2, 4, 4)
    assert made["dec:half/unpool"].bottoms[0] == reshape.tops[0]


def test_normalisations_have_statistics_of_their_own(thin):
    """Fixed encoders keep theirs, decoders take their batches'; the image has none."""
    made = made_of(thin("vgg_bn"), "decoder")
    norms = [la for la in made.values() if la.type == "BatchNorm"]
    assert norms
    for norm in norms:
        own = norm.fields.get("batch_norm_param", {}).get("use_global_stats", False)
        assert own != norm.name.startswith("dec:"), norm.name
    scales = {la.name: la for la in made.values() if la.type == "Scale"}
    assert scales["dec:conv1_1/scale"].fields["param"][0]["lr_mult"] == 1
    assert scales["dec:conv1_1/scale"].blobs == ((16,), (16,))
    assert scales["conv1_1/scale"].fields["param"] == [{"lr_mult": 0}] * 2
    assert not any(la.name.startswith("dec:data/") for la in norms)


def test_functions_with_parameters_get_their_own_and_the_image_none(thin):
    made = made_of(thin("oddities"))
    assert made["dec:c2/prelu"].blobs == ((12,),)
    assert "name" not in str(made["dec:c2/prelu"].fields)
    last = [la for la in made.values() if "dec:data" in la.tops]
    assert [la.type for la in last] == ["Deconvolution"]


def test_functions_in_a_row_do_not_overwrite_what_gradients_need(parsed):
    """In place behind another function, Caffe's gradients would be wrong."""
    text = INPUT.format(1, 8, 8) + convolution("c1", "data", "kernel_size: 3 pad: 1")
    kinds = ("c1", "ReLU", "ELU", "TanH", "BNLL", "BatchNorm", "Scale", "Sigmoid")
    for before, kind in pairwise(kinds):
        text += layer(kind, kind, before)
    text += convolution("c2", "Sigmoid", "kernel_size: 3 pad: 1")
    text += pooling("pool", "c2", "kernel_size: 2 stride: 2")
    network = parsed(text + layer("InnerProduct", "fc", "pool", FC))
    made = made_of(network, depth=1)
    in_place = {
        la.type
        for la in made.values()
        if la.name.startswith("dec:c1/") and la.bottoms == la.tops
    }
    assert in_place == {"ReLU", "Scale", "Sigmoid"}
    loading.in_child(check_arithmetic, network, "swwae-all")


def test_nothing_is_dropped_where_the_encoder_is_fixed(thin):
    network = thin("nin")
    for kind in ("decoder", "reconstruct"):
        assert not any(la.type == "Dropout" for la in made_of(network, kind).values())
    layerwise = made_of(network, "pretrain", "swwae-layerwise")
    assert not any(la.type == "Dropout" for la in layerwise.values())
    made = made_of(network)
    assert made["drop1"].tops == made["drop1"].bottoms == ("pool1",)
    tap = made["dec:cccp2/clean"]
    assert (tap.type, tap.bottoms) == ("Pooling", made["pool1"].bottoms)
    assert made["dec:loss@cccp2"].bottoms[1] == "dec:cccp2/clean"


def test_sizes_are_known_also_where_nothing_is_dropped(parsed):
    """What unpooling takes its size from is no blob of dropout's."""
    text = INPUT.format(1, 9, 9) + convolution("conv", "data", "kernel_size: 3 pad: 1")
    text += layer("Dropout", "drop", "conv")
    text += pooling("pool", "drop", "kernel_size: 2 stride: 2")
    network = parsed(text + layer("InnerProduct", "fc", "pool", FC))
    for kind, variant in (("decoder", "sae-all"), ("pretrain", "sae-layerwise")):
        unpool = made_of(network, kind, variant)["dec:conv/unpool"]
        assert unpool.bottoms == ("pool", "conv")


# --- data


def source(kind: str, fields: str, rest: str = "", tops=("data", "label")) -> str:
    names = " ".join(f'top: "{top}"' for top in tops)
    return f'layer {{ name: "source" type: "{kind}" {names} {rest} {fields} }}\n'


def classifier(bottom: str = "data") -> str:
    text = convolution("conv", bottom, "kernel_size: 3 pad: 1")
    text += pooling("pool", "conv", "kernel_size: 2 stride: 2")
    text += layer("InnerProduct", "fc", "pool", FC)
    return text + (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label"'
        ' top: "loss" }\n'
    )


def test_labels_are_silenced_where_nobody_reads_them(thin):
    own = [la for la in thin("nin").data.layers_before if not la.bottoms]
    assert len(own) == 2
    for kind, variant in (("decoder", "swwae-all"), ("pretrain", "swwae-layerwise")):
        made = plan(thin("nin"), VARIANTS[variant])
        file = next(f for f in made.networks if f.kind == kind)
        assert [la for la in file.layers if la.type == "Data"] == own
        assert [la.fields["include"] for la in own] == [
            [{"phase": phase}] for phase in ("TRAIN", "TEST")
        ]
        silences = [la for la in file.layers if la.type == "Silence"]
        assert [la.bottoms for la in silences] == [("label",)]


def test_a_real_database_tells_shape_and_number(parsed, tmp_path):
    folder = tmp_path / "lmdb"
    write_lmdb(folder, 7, (3, 10, 12))
    fields = f'data_param {{ source: "{folder}" batch_size: 2 backend: LMDB }}'
    network = parsed(source("Data", fields) + classifier())
    assert network.image.shape == (3, 10, 12)
    assert network.data.train_images == 7
    assert network.data.counted
    crop = "transform_param { crop_size: 8 }"
    network = parsed(source("Data", fields, crop) + classifier())
    assert network.image.shape == (3, 8, 8)
    with pytest.raises(UserError, match="leave the option out"):
        parsed(source("Data", fields) + classifier(), (3, 9, 9))
    made_of(network)


@pytest.mark.parametrize("size", [0, 100, 4096, 9000])
def test_a_damaged_database_is_as_none(size, parsed, tmp_path):
    folder = tmp_path / "lmdb"
    write_lmdb(folder, 200, (3, 10, 12))
    os.truncate(folder / "data.mdb", size)
    fields = f'data_param {{ source: "{folder}" batch_size: 2 backend: LMDB }}'
    with pytest.raises(UserError, match="give --image"):
        parsed(source("Data", fields) + classifier())


def write_lmdb(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    data = bytes(channels * height * width)
    datum = caffe_pb2.Datum(
        channels=channels, height=height, width=width, data=data, label=1
    )
    with (
        lmdb.open(str(folder), map_size=1 << 24) as database,
        database.begin(write=True) as transaction,
    ):
        for index in range(count):
            transaction.put(b"%08d" % index, datum.SerializeToString())


def test_a_real_list_of_images_tells_shape_and_number(parsed, tmp_path):
    for index in range(3):
        Image.new("RGB", (12, 9)).save(tmp_path / f"an image {index}.png")
    names = [f"{tmp_path}/an image {index}.png {index}" for index in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    fields = f'source: "{tmp_path}/list.txt" batch_size: 2'
    network = parsed(
        source("ImageData", f"image_data_param {{ {fields} }}") + classifier()
    )
    assert network.image.shape == (3, 9, 12)
    assert network.data.train_images == 3
    more = f"{fields} new_height: 16 new_width: 20 is_color: false"
    network = parsed(
        source("ImageData", f"image_data_param {{ {more} }}") + classifier()
    )
    assert network.image.shape == (1, 16, 20)


def test_hdf5_needs_the_shape(parsed):
    fields = 'hdf5_data_param { source: "nowhere.txt" batch_size: 4 }'
    text = source("HDF5Data", fields) + classifier()
    with pytest.raises(UserError, match=r"give --image .*x224"):
        parsed(text)
    network = parsed(text, (2, 8, 8))
    assert network.pixel_scale == 1
    assert network.data.train_batch == 4
    assert made_of(network)["dec:loss@data"].bottoms == ("dec:data", "data")


@pytest.mark.parametrize(
    ("scale", "factor"), [(None, 1 / 255), (1 / 255, 1), (1 / 256, 1), (0.017, 0.2307)]
)
def test_the_target_is_the_image_in_units_of_0_to_1(scale, factor, parsed):
    transform = f"transform_param {{ scale: {scale} }}" if scale else ""
    fields = 'data_param { source: "nowhere" batch_size: 2 backend: LMDB }'
    text = source("Data", fields, transform) + classifier()
    made = made_of(parsed(text, (3, 8, 8)))
    if factor == 1:
        assert "data/scaled" not in made
        assert made["dec:loss@data"].bottoms == ("dec:data", "data")
    else:
        found = made["data/scaled"].fields["power_param"]["scale"]
        assert found == pytest.approx(factor, rel=0.001)
        assert made["dec:loss@data/scaled"].bottoms == ("dec:data", "data/scaled")


# --- arithmetic


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


@pytest.fixture
def small(parsed):
    """name -> the network with few channels and a small image."""

    def small(name: str):
        text = re.sub(r"num_output: \d{2,}", "num_output: 8", file_of(name).read_text())
        image = (3, 12, 12) if name in ("nin", "vgg_bn") else None
        return parsed(text.replace("crop_size: 32", "crop_size: 12"), image)

    return small


LENET = pytest.param("examples/mnist/lenet")


@pytest.mark.parametrize("variant", ["swwae-all", "sae-all", "swwae-layerwise"])
@pytest.mark.parametrize("name", ["oddities", "vgg_bn", "nin", LENET])
def test_it_computes_what_numpy_says(name, variant, small):
    """Every blob, and the largest slope of a few layers' weights."""
    network = small(name)
    assert network.limit is None
    loading.in_child(check_arithmetic, network, variant)


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


# --- the command line


@pytest.fixture
def generated(tmp_path, capsys):
    """Runs the generator on a file; (code, what it said, its files by path)."""

    def generated(file, *arguments, out="out"):
        folder = tmp_path / out
        code = main([str(file), *arguments, "--out", str(folder)])
        said = capsys.readouterr()
        files = {
            str(path.relative_to(folder)): path.read_text()
            for path in folder.rglob("*.prototxt")
        }
        return code, said.err if code else said.out, files

    return generated


def test_files_are_named_for_network_variant_and_depth(generated):
    code, said, files = generated(
        file_of("nin"), "--variant", "swwae-all", "--depth", "2", "--image", "3x32x32"
    )
    assert code == 0
    assert "models/nin/swwae-all/depth2/train_val.prototxt" in files
    assert {path.rpartition("/")[0] for path in files} == {
        "models/nin/swwae-all/depth2",
        "models/nin/swwae-layerwise/depth2",
        "solvers/nin/swwae-all/depth2",
        "solvers/nin/swwae-layerwise/depth2",
    }
    assert all(path in said for path in files)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nin", ["--variant", "swwae-all", "--depth", "2", "--image", "3x32x32"]),
        ("vgg_bn", ["--name", "mine.2", "--image", "3x32x32", "--group", "layer"]),
        ("oddities", ["--variant", "ladder", "--depth", "1"]),
        ("oddities", ["--variant", "baseline"]),
    ],
)
def test_the_command_in_a_files_head_makes_it_again(name, arguments, generated):
    _, _, files = generated(file_of(name), *arguments)
    texts = dict(list(files.items())[:3])
    for path, text in texts.items():
        command = re.match(r"# Generated by `python -m generator (.*)`; do not", text)[
            1
        ]
        code, _, again = generated(*shlex.split(command), out="again")
        assert code == 0
        assert again[path] == text


def test_the_users_solver_is_kept_for_stage_0(generated, tmp_path):
    own = tmp_path / "solver.prototxt"
    own.write_text(
        'net: "elsewhere.prototxt" base_lr: 0.003 lr_policy: "poly" power: 2'
        ' max_iter: 777 type: "Nesterov" momentum: 0.95 weight_decay: 0.0002'
        ' snapshot_prefix: "elsewhere" solver_mode: GPU test_iter: 3 test_interval: 50'
    )
    _, _, files = generated(
        file_of("nin"),
        "--variant",
        "baseline",
        "--image",
        "3x32x32",
        "--solver",
        str(own),
    )
    stage0 = text_format.Parse(
        files["solvers/nin/baseline/stage0.prototxt"], caffe_pb2.SolverParameter()
    )
    expected = text_format.Parse(own.read_text(), caffe_pb2.SolverParameter())
    expected.net = "models/nin/baseline/train_val.prototxt"
    expected.snapshot_prefix = "runs/nin/baseline/stage0/snapshot"
    expected.random_seed = 1
    expected.ClearField("solver_mode")
    assert stage0 == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name", "vgg16"], "a built-in network has it; give another one"),
        (["--name", "../up"], "lower-case letters, digits"),
        (["--name", "Mine"], "such as mine"),
        (["--image", "3x32"], "--image 3x32: channels x height x width"),
        (["--image", "3x0x32"], "each at least 1"),
        (["--image", "axbxc"], "--image axbxc: channels x height x width"),
        (["--image", "3x40000x40000"], "too large for Caffe"),
        (["--depth", "9"], "can be decoded from 1 to 3"),
        (["--depth", "0"], "can be decoded from 1 to 3"),
        (["--depth", "deep"], "--depth deep: a number, or all"),
        (["--data", "folder"], "--data is for built-in networks"),
        (["--solver", "nowhere.prototxt"], "cannot read nowhere.prototxt"),
        (["--solver", "tests/networks/nin.prototxt"], "is no Caffe solver file"),
        (["--variant", "swae-all"], "swwae-all"),
        (["--batch-norm"], "has no BatchNorm layer"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(arguments, sentence, generated):
    image = [] if "--image" in arguments else ["--image", "3x32x32"]
    code, said, files = generated(file_of("nin"), *image, *arguments)
    assert (code, files) == (2, {})
    assert sentence in said
    assert said.count("\n") == 1


def test_options_for_own_networks_are_refused_for_built_in_ones(generated):
    for option in (["--image", "1x28x28"], ["--group", "layer"]):
        code, said, files = generated("vgg8", *option)
        assert (code, files) == (2, {})
        assert f"{option[0]} is for a network file of your own" in said
