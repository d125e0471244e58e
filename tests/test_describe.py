"""The table of a network, against figures from elsewhere and arithmetic of our own."""

import re

import pytest

from generator.__main__ import main
from generator.describe import described, rows
from generator.given import Options, read_given
from generator.networks import ALEXNET, NETWORKS, VGG8, VGG16
from generator.stages import plan
from generator.variants import VARIANTS
from runtime import ROOT

BASELINE = VARIANTS["baseline"]


def table(network, variant=BASELINE, depth=None):
    made = plan(network, variant, depth).networks[0]
    return {
        row.layer.name: row
        for members in rows(network, made).values()
        for row in members
    }


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
    assert re.search(rf"total +{parameters:,} +{multiply_adds:,}", text)


@pytest.mark.parametrize(
    ("network", "layer", "field"),
    [
        (VGG16, "conv1_1", 3),
        (VGG16, "conv5_3", 196),
        (VGG16, "conv5_3/pool", 212),
        (VGG16, "fc6", 212 + 6 * 32),
        (ALEXNET, "conv1", 11),
        (ALEXNET, "conv5/pool", 195),
        (VGG8, "conv3_2/pool", 36),
    ],
)
def test_receptive_fields(network, layer, field):
    assert table(network)[layer].field == (field, field)


def test_a_deconvolution_costs_what_its_convolution_does():
    found = table(VGG16, VARIANTS["swwae-all"])
    for name in ("conv1_2", "conv3_1", "conv5_3"):
        assert found[f"dec:{name}"].multiply_adds == found[name].multiply_adds
        assert found[f"dec:{name}"].field is None


def test_memory_is_that_of_tops_that_are_not_in_place():
    found = table(VGG8, VARIANTS["swwae-all"])
    assert found["conv1_1"].memory == 4 * 16 * 32 * 32
    assert found["conv1_1/relu"].memory == 0
    assert found["conv1_2/pool"].memory == 2 * 4 * 16 * 16 * 16  # switches, too


def test_tied_weights_count_once():
    found = table(VGG8, VARIANTS["ladder"])
    assert found["conv2_1"].parameters == 32 * 16 * 9 + 32
    assert found["noisy:conv2_1"].parameters == 0
    assert found["noisy:conv2_1"].multiply_adds == found["conv2_1"].multiply_adds


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_it_fits_a_screen(network, variant):
    lines = described(network, variant, network.depth).splitlines()
    assert max(map(len, lines)) <= 112
    assert lines[-5].startswith("total")


def test_a_users_network_with_layers_beyond_the_mirror(capsys):
    path = ROOT / "build/caffe-src/models/bvlc_googlenet/deploy.prototxt"
    assert main([str(path), "--describe", "--depth", "2"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"conv2/3x3 +Convolution +192x56x56 +110,784", text)
    assert re.search(r"inception_3a/1x1 +Convolution +\?", text)


def test_oddities_have_rectangular_fields():
    path = ROOT / "tests/networks/oddities.prototxt"
    network = read_given(path, Options("odd"))
    found = table(network)
    assert found["c1"].field == (5, 3)
    assert found["p1"].field == (5 + 2 * 2, 3 + 1 * 1)
    assert found["c2"].field == (9 + 4 * 4, 4 + 4 * 2)
