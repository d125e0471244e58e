"""The table of a network, against known figures, Caffe's own blobs and gradients."""

import re
from math import prod

import caffe
import numpy as np
import pytest

from generator.__main__ import main
from generator.describe import MAX_WIDTH, described, rows
from generator.networks import ALEXNET, NETWORKS, VGG8, VGG16
from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers import loading

BASELINE = VARIANTS["baseline"]
GOOGLENET = ROOT / "build/caffe-src/models/bvlc_googlenet/deploy.prototxt"


def table(network, variant=BASELINE, depth=None):
    """Layer name -> row."""
    made = plan(network, variant, depth).networks[0]
    return {
        row.layer.name: row
        for members in rows(network, made).values()
        for row in members
    }


def own_network(folder, *layers, image="3x40x40"):
    """A user's network of (type, fields), each reading the one before it."""
    dims = " ".join(f"dim: {n}" for n in (1, *image.split("x")))
    lines = [
        'layer { name: "data" type: "Input" top: "data"'
        f" input_param {{ shape {{ {dims} }} }} }}"
    ]
    below = "data"
    for index, (kind, fields) in enumerate(layers):
        name = f"{kind.lower()}{index}"
        lines.append(
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{below}" top: "{name}"'
            f" {fields} }}"
        )
        below = name
    path = folder / "own.prototxt"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("network", "parameters", "multiply_adds"),
    [
        # Simonyan & Zisserman 2015: 138 M; 15.47 G without biases
        (VGG16, 138_357_544, 15_470_264_320),
        # Caffe's AlexNet, convolutions in two groups
        (ALEXNET, 60_965_224, 665_784_864 + 58_621_952),
    ],
)
def test_totals_are_the_known_ones(network, parameters, multiply_adds):
    found = table(network).values()
    assert sum(row.parameters for row in found) == parameters
    assert sum(row.multiply_adds for row in found) == multiply_adds
    text = described(network, BASELINE, network.depth)
    assert re.search(rf"^total +{parameters:,} +{multiply_adds:,} ", text, re.M)


def test_sums_of_the_parts():
    text = described(VGG16, VARIANTS["swwae-all"], 5)
    parts = ("encoder", "classifier", "decoder", "total")
    numbers = {
        part: int(re.search(rf"^{part} +([\d,]+)", text, re.M)[1].replace(",", ""))
        for part in parts
    }
    assert numbers["encoder"] == 14_714_688
    assert numbers["classifier"] == 138_357_544 - 14_714_688
    # the same weights; biases of the channels that are read, 3 to 512 ones, instead of
    # those that are yielded, 64 to 512 ones
    assert numbers["decoder"] == 14_714_688 + 3 - 512
    assert numbers["total"] == sum(numbers[part] for part in parts[:3])


@pytest.mark.parametrize("name", VARIANTS)
def test_figures_are_those_of_caffes_blobs(name):
    loading.in_child(check_against_caffe, VARIANTS[name])


def check_against_caffe(variant):
    """Parameters, multiply-adds and memory from pycaffe's arrays; what two names share
    in memory counts once."""
    made = plan(VGG8, variant)
    message = loading.without_data(
        loading.texts(made)["train_val"], VGG8.image.shape, "data"
    )
    net = loading.build(message, caffe.TRAIN)
    net.forward()  # only then do copies of a blob share its memory
    found = table(VGG8, variant).values()

    arrays = [blob.data for blobs in net.params.values() for blob in blobs]
    parameters = {array.ctypes.data: array.size for array in arrays}
    assert sum(row.parameters for row in found) == sum(parameters.values())

    given = {"data", "label"}
    numbers = {
        blob.data.ctypes.data: blob.count // loading.BATCH
        for top, blob in net.blobs.items()
        if top not in given and blob.data.ndim > 1
    }
    for top in given:
        numbers.pop(net.blobs[top].data.ctypes.data, None)
    assert sum(row.memory for row in found) == 4 * sum(numbers.values())

    total = 0
    for layer in made.networks[0].layers:
        if layer.name in net.params and layer.in_phase("TRAIN"):
            weights = net.params[layer.name][0].data
            reads = layer.type == "Deconvolution"
            end = net.blobs[(layer.bottoms if reads else layer.tops)[0]]
            total += end.count // loading.BATCH * prod(weights.shape[1:])
    assert sum(row.multiply_adds for row in found) == total


@pytest.mark.parametrize(
    ("network", "layer", "field"),
    [
        (VGG16, "conv1_1", 3),
        (VGG16, "conv5_3", 196),
        (VGG16, "conv5_3/pool", 212),
        (VGG16, "fc6", 212 + 6 * 32),
        (VGG16, "fc8", 212 + 6 * 32),
        (ALEXNET, "conv1", 11),
        (ALEXNET, "conv5/pool", 195),
        (VGG8, "conv3_2/pool", 36),
    ],
)
def test_receptive_fields(network, layer, field):
    assert table(network)[layer].field == (field, field)
    text = described(network, BASELINE, network.depth)
    assert re.search(rf"^  {layer} .* {field}x{field}$", text, re.M)


CONVOLUTION = "convolution_param { num_output: 2 %s }"
OBLONG = "kernel_h: 5 kernel_w: 3"
POOLING = "pooling_param { pool: AVE %s }"
WITHIN = "lrn_param { norm_region: WITHIN_CHANNEL local_size: 5 }"


@pytest.mark.parametrize(
    "layers",
    [
        [
            (
                "Convolution",
                CONVOLUTION % "kernel_h: 5 kernel_w: 3 stride_h: 2 stride_w: 1",
            )
        ],
        [
            ("Convolution", CONVOLUTION % "kernel_size: 3 dilation: 2 stride: 2"),
            ("Pooling", POOLING % "kernel_size: 3 stride: 2"),
            ("Convolution", CONVOLUTION % "kernel_size: 3 pad: 1"),
        ],
        [
            ("Convolution", CONVOLUTION % "kernel_size: 3"),
            ("LRN", WITHIN),
            ("Pooling", POOLING % "kernel_size: 2 stride: 2"),
            ("Convolution", CONVOLUTION % "kernel_size: 2"),
        ],
    ],
    ids=["oblong", "dilated", "normalised"],
)
def test_a_receptive_field_is_where_gradients_reach(layers, tmp_path):
    path = own_network(tmp_path, *layers)
    network = read_user_network(path, Options("own"))
    field = list(table(network).values())[-1].field
    loading.in_child(check_gradient, path, field)


def check_gradient(path, field):
    net = loading.read(path)
    net.force_backward = True
    net = loading.build(net)
    for weights, _ in net.params.values():
        weights.data[...] = 1
    net.blobs["data"].data[...] = np.random.default_rng(0).uniform(1, 2, (1, 3, 40, 40))
    net.forward()
    last = net.blobs[net.outputs[0]]
    middle = tuple(n // 2 for n in last.data.shape[2:])
    last.diff[(0, 0, *middle)] = 1
    net.backward()
    reached = np.nonzero(net.blobs["data"].diff[0, 0])
    assert tuple(np.ptp(axis) + 1 for axis in reached) == field


def test_behind_a_flattening_everything_is_seen(tmp_path):
    path = own_network(
        tmp_path,
        ("Convolution", CONVOLUTION % "kernel_size: 3"),
        ("Flatten", ""),
        ("InnerProduct", "inner_product_param { num_output: 4 }"),
        image="1x9x7",
    )
    found = table(read_user_network(path, Options("own")))
    assert found["flatten1"].field == found["innerproduct2"].field == (9, 7)
    assert found["flatten1"].memory == 0


def test_decoders_have_no_receptive_field_in_the_table():
    text = described(VGG8, VARIANTS["swwae-all"], 3)
    lines = [line for line in text.splitlines() if line.startswith("  dec:")]
    assert len(lines) == 3 + 2 * 3 + 5 + 3  # unpooling, deconvolution, ReLU, loss
    for line in lines:
        assert line.endswith(" -") or "EuclideanLoss" in line


def test_memory_is_that_of_tops_that_are_not_in_place():
    found = table(VGG8, VARIANTS["swwae-all"])
    assert found["conv1_1"].memory == 4 * 16 * 32 * 32
    assert found["conv1_1/relu"].memory == 0
    assert found["conv1_2/pool"].memory == 2 * 4 * 16 * 16 * 16  # switches, too
    text = described(VGG8, VARIANTS["swwae-all"], 3)
    assert re.search(
        r"^  conv1_1 +Convolution +16x32x32 +160 +147,456 +64.0 KiB", text, re.M
    )


def test_tied_weights_count_once():
    found = table(VGG8, VARIANTS["ladder"])
    assert found["conv2_1"].parameters == 32 * 16 * 9 + 32
    assert found["noisy:conv2_1"].parameters == 0
    assert found["noisy:conv2_1"].multiply_adds == found["conv2_1"].multiply_adds
    text = described(VGG8, VARIANTS["ladder"], 3)
    assert re.search(r"^noisy encoder +0 +9,849,344 ", text, re.M)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_it_fits_a_screen(network, variant):
    for depth in range(1, network.max_depth + 1):
        lines = described(network, variant, depth).splitlines()
        # dec:conv5_3[2]/reshape/batchnorm: no other name is that long
        longest = 4 * (network.name == "vgg16_bn" and depth > network.depth)
        assert max(map(len, lines)) <= MAX_WIDTH + longest
    assert MAX_WIDTH == 100


def test_branches_behind_the_chain(capsys):
    arguments = ["--describe", "--variant", "baseline"]
    assert main([str(GOOGLENET), *arguments]) == 0
    text = capsys.readouterr().out
    assert "?" not in text
    # of Caffe's own GoogLeNet, without its auxiliary classifiers
    assert re.search(r"^total +6,998,552 +1,582,671,872 ", text, re.M)
    assert re.search(r"^  inception_3a/output +Concat +256x28x28 .* 59x59$", text, re.M)
    assert re.search(r"^  pool5/7x7_s1 .* 907x907$", text, re.M)


def test_what_is_not_known_is_said(tmp_path, capsys):
    path = own_network(
        tmp_path,
        ("Convolution", CONVOLUTION % "kernel_size: 3"),
        ("Tile", "tile_param { tiles: 2 }"),
        ("Convolution", CONVOLUTION % "kernel_size: 1"),
    )
    assert main([str(path), "--describe", "--depth", "1"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  convolution0 +Convolution +2x38x38 +56 +77,976 ", text, re.M)
    assert re.search(r"^  tile1 +Tile +\? +\? +\?$", text, re.M)
    assert re.search(r"^  convolution2 +Convolution( +\?){5}$", text, re.M)
    assert text.splitlines()[-1].startswith("?: ")
