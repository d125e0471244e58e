"""How single layers of a user's network are mirrored, and what the mirror computes."""

import re
from itertools import pairwise

import pytest

from tests.helpers import loading
from tests.helpers.user_network import (
    FC,
    check_arithmetic,
    convolution,
    file_of,
    layer,
    made_of,
    pooling,
)

# --- small networks, each for one thing

INPUT = (
    'layer {{ name: "data" type: "Input" top: "data"'
    " input_param {{ shape {{ dim: 1 dim: {} dim: {} dim: {} }} }} }}\n"
)


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


# --- arithmetic


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


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("variant", ["swwae-all", "sae-all"])
@pytest.mark.parametrize(
    "fields",
    [
        "kernel_size: 3 stride: 2",
        "kernel_h: 3 kernel_w: 2 stride: 2",
        "kernel_size: 5 stride: 4 pad: 1",
    ],
)
def test_a_window_larger_than_its_plane_is_cut_off_there(
    fields, variant, method, parsed
):
    """As the last pooling of a deep network has it, whose image is smaller."""
    text = INPUT.format(1, 4, 4) + convolution("c1", "data", "kernel_size: 3 pad: 1")
    text += pooling("p1", "c1", "pool: MAX kernel_size: 2 stride: 2")
    text += convolution("c2", "p1", "kernel_size: 3 pad: 1")
    text += pooling("p2", "c2", f"pool: {method} {fields}")
    network = parsed(text + layer("InnerProduct", "fc", "p2", FC))
    assert network.activations[2].shape == (4, 1, 1)
    made = made_of(network, variant=variant)
    assert made["dec:c2/unpool"].shape == (4, 2, 2)
    loading.in_child(check_arithmetic, network, variant)
