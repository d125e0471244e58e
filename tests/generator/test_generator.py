"""The generator: names, shapes, mirroring and the text that it writes."""

import re
from pathlib import Path

import pytest

from generator import paper
from generator.files import render
from generator.layers import number_text, value_text
from generator.networks import VGG8, VGG16
from generator.stages import plan
from generator.variants import VARIANTS

PAPERS = [name for name in VARIANTS if name.startswith(("sae", "swwae"))]
"""The variants of Figures 1 and 2."""


def file_of(network, variant, kind, depth=None):
    files = plan(network, VARIANTS[variant], depth).networks
    return next(f for f in files if f.path.endswith(f"/{kind}.prototxt"))


def layers_of(network, variant, kind, depth=None):
    return {
        layer.name: layer for layer in file_of(network, variant, kind, depth).layers
    }


def solver_of(network, variant, stage):
    solvers = plan(network, VARIANTS[variant]).solvers
    return next(s for s in solvers if s.path.endswith(f"stage{stage}.prototxt"))


# --- the networks


def test_vgg16_macro_layer_3_is_the_papers_figure_1():
    """Unpool, then as many deconvolutions as convolutions, in mirrored order."""
    sections = file_of(VGG16, "swwae-all", "train_val").sections
    titles = {section.title: section for section in sections}
    encoder = titles["macro-layer 3: 128x56x56 -> 256x28x28"]
    decoder = titles["decoder of macro-layer 3: 256x28x28 -> 128x56x56"]
    assert [layer.name for layer in encoder.layers] == [
        "conv3_1",
        "conv3_1/relu",
        "conv3_2",
        "conv3_2/relu",
        "conv3_3",
        "conv3_3/relu",
        "conv3_3/pool",
    ]
    assert encoder.layers[-1].tops == ("conv3_3/pool", "conv3_3/pool-mask")
    assert [(layer.name, layer.bottoms, layer.tops) for layer in decoder.layers] == [
        (
            "dec:conv3_3/unpool",
            ("dec:conv3_3", "conv3_3/pool-mask"),
            ("dec:conv3_3/unpool",),
        ),
        ("dec:conv3_3", ("dec:conv3_3/unpool",), ("dec:conv3_2",)),
        ("dec:conv3_2/relu", ("dec:conv3_2",), ("dec:conv3_2",)),
        ("dec:conv3_2", ("dec:conv3_2",), ("dec:conv3_1",)),
        ("dec:conv3_1/relu", ("dec:conv3_1",), ("dec:conv3_1",)),
        ("dec:conv3_1", ("dec:conv3_1",), ("dec:conv2_2",)),
        ("dec:conv2_2/relu", ("dec:conv2_2",), ("dec:conv2_2",)),
        ("dec:loss@conv2_2", ("dec:conv2_2", "conv2_2/pool"), ("dec:loss@conv2_2",)),
    ]


@pytest.mark.parametrize("network", [VGG16, VGG8], ids=lambda net: net.name)
@pytest.mark.parametrize("variant", PAPERS)
def test_the_decoder_mirrors_the_encoder_layer_by_layer(network, variant):
    """dec:X has X's weights' shape, turns X's output's shape into X's input's."""
    layers = layers_of(network, variant, "train_val")
    shape = dict.fromkeys(("data", "data/scaled"), network.image.shape)
    for layer in layers.values():
        shape.update(dict.fromkeys(layer.tops, layer.shape))
    convolutions = [n for n, layer in layers.items() if layer.type == "Convolution"]
    assert convolutions, "a network without convolutions tests nothing"
    for name in convolutions:
        conv, dec = layers[name], layers[f"dec:{name}"]
        assert dec.type == "Deconvolution"
        assert dec.blobs[0] == conv.blobs[0]
        assert dec.blobs[1] == (conv.blobs[0][1],)
        assert shape[dec.bottoms[0]] == conv.shape
        assert dec.shape == shape[conv.bottoms[0]]
    poolings = [layer for layer in layers.values() if layer.type == "Pooling"]
    for pooling in poolings:
        unpooling = layers["dec:" + pooling.name.replace("/pool", "/unpool")]
        assert shape[unpooling.bottoms[0]] == pooling.shape
        assert unpooling.shape == shape[pooling.bottoms[0]]
    decoders = [
        n for n in layers if n.startswith("dec:") and "/" not in n and "@" not in n
    ]
    assert len(decoders) == len(convolutions)


@pytest.mark.parametrize("variant", PAPERS)
def test_stacked_decoders_feed_on_each_other_and_layerwise_ones_do_not(variant):
    layers = layers_of(VGG16, variant, "train_val")
    for name, top in (("conv5_3", "conv5_3/pool"), ("conv2_2", "dec:conv2_2")):
        source = layers[f"dec:{name}/unpool"].bottoms[0]
        assert source == (top if VARIANTS[variant].stacked else f"{name}/pool")
    assert layers["dec:conv3_1"].tops == (
        ("dec:conv2_2",) if VARIANTS[variant].stacked else ("dec:conv2_2[2]",)
    )
    assert layers["dec:conv1_1"].tops == ("dec:data",)
    assert "dec:data/relu" not in layers


@pytest.mark.parametrize("variant", PAPERS)
def test_switches_exist_only_where_something_reads_them(variant):
    for kind in ("train_val", "deploy", "reconstruct"):
        layers = layers_of(VGG16, variant, kind)
        read = {bottom for layer in layers.values() for bottom in layer.bottoms}
        for layer in layers.values():
            masks = [top for top in layer.tops if top.endswith("/pool-mask")]
            assert set(masks) <= read
        unpool = layers["dec:conv4_3/unpool"]
        method = unpool.fields["pooling_param"]["pool"]
        known = variant.startswith("swwae")
        assert method == ("SWITCH" if known else "FIX")
        assert len(unpool.bottoms) == (2 if known else 1)
    depth2 = layers_of(VGG16, variant, "deploy", depth=2)
    assert depth2["conv3_3/pool"].tops == ("conv3_3/pool",)


@pytest.mark.parametrize("stage", ["decoder", "train_val"])
def test_loss_weights_are_table_a1(stage):
    layers = layers_of(VGG16, "swwae-all", stage)
    names = ["data/scaled", "conv1_2", "conv2_2", "conv3_3", "conv4_3"]
    weights = [layers[f"dec:loss@{name}"].fields["loss_weight"] for name in names]
    assert weights == [1e-4, 1e-12, 1e-12, 1e-12, 1e-10]
    first = layers_of(VGG16, "swwae-first", stage)
    losses = [n for n, layer in first.items() if layer.type == "EuclideanLoss"]
    assert losses == ["dec:loss@data/scaled"]
    assert first["dec:loss@data/scaled"].fields["loss_weight"] == 1e-4


def test_layerwise_learning_rates_are_table_a1():
    """base_lr x lr_mult, every loss weighted 1, biases at twice the rate."""
    layers = layers_of(VGG16, "swwae-layerwise", "pretrain")
    base = solver_of(VGG16, "swwae-layerwise", 2).base_lr
    for last, rate in zip(
        ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"],
        [3e-9, 1e-8, 3e-12, 1e-12, 1e-11],
        strict=True,
    ):
        weights, biases = layers[f"dec:{last}"].fields["param"]
        assert base * weights["lr_mult"] == pytest.approx(rate)
        assert base * biases["lr_mult"] == pytest.approx(2 * rate)
    losses = [layer for layer in layers.values() if layer.type == "EuclideanLoss"]
    assert [layer.fields["loss_weight"] for layer in losses] == [1] * 5


@pytest.mark.parametrize(
    ("variant", "kind"), [("swwae-layerwise", "pretrain"), ("sae-first", "decoder")]
)
def test_the_encoder_is_fixed_in_stages_2_and_3(variant, kind):
    layers = layers_of(VGG16, variant, kind)
    for name, layer in layers.items():
        for rates in layer.fields.get("param", []):
            assert (rates["lr_mult"] == 0) == (not name.startswith("dec:"))
    assert not {"fc6", "loss", "accuracy"} & set(layers)


def test_solvers_follow_section_4_1():
    stage2 = solver_of(VGG16, "swwae-layerwise", 2)
    stage4 = solver_of(VGG16, "swwae-all", 4)
    data4 = layers_of(VGG16, "swwae-all", "train_val")["data"]
    text = render([plan(VGG16, VARIANTS["swwae-all"])])[
        "models/vgg16/swwae-all/train_val.prototxt"
    ]
    batch4 = int(re.search(r"train_lmdb.*batch_size: (\d+)", text)[1])
    assert data4.type == "Data"
    assert stage2.momentum == stage4.momentum == 0.9
    assert batch4 * stage4.iter_size == 64
    assert stage2.iter_size == 1
    assert abs(stage4.max_iter - 16 * 1281167 / 64) < 16
    assert abs(stage2.max_iter - 1281167 / 16) < 16
    assert paper.MOMENTUM == 0.9


def test_stages_of_each_variant():
    stages = {
        name: [Path(s.path).stem for s in plan(VGG8, v).solvers]
        for name, v in VARIANTS.items()
    }
    assert stages["baseline"] == ["stage0", "stage4"]
    assert stages["swwae-first"] == stages["sae-all"] == ["stage3", "stage4"]
    assert stages["sae-layerwise"] == ["stage2", "stage4"]


def test_decoding_from_an_inner_product_goes_through_the_pooled_shape():
    layers = layers_of(VGG16, "swwae-first", "decoder", depth=7)
    assert layers["dec:fc7"].bottoms == ("fc7",)
    assert layers["dec:fc6"].blobs[0] == (25088, 4096)
    reshape = layers["dec:conv5_3/reshape"]
    assert reshape.shape == (512, 7, 7)
    assert layers["dec:conv5_3/unpool"].bottoms[0] == reshape.tops[0]
    assert not [n for n in layers if "dropout" in n]
    assert "fc8" not in layers


# --- the text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-12, "1e-12"), (1e-4, "0.0001"), (3000.0000000000005, "3000"), (2e10, "2e10")],
)
def test_numbers_are_short_and_exact_enough_for_float32(value, text):
    assert number_text(value) == text


def test_strings_are_quoted_for_protobuf():
    assert value_text('a"b\\c') == '"a\\"b\\\\c"'
