"""The picture of a network: what is in it, counted in the SVG."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from generator.__main__ import main
from generator.draw import Picture
from generator.networks import NETWORKS
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT

SVG = "{http://www.w3.org/2000/svg}"
DEC = "dec:"


def drawn(path, *arguments):
    """Artists by name, in the order in which they are drawn, and every text."""
    assert main([*arguments, "--draw", str(path)]) == 0
    root = ElementTree.parse(path).getroot()
    names = [group.get("id") for group in root.iter(f"{SVG}g") if group.get("id")]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    return names, texts


def of(names, kind):
    """What artists of a kind stand for."""
    start = f"{kind}:"
    return [name.removeprefix(start) for name in names if name.startswith(start)]


def test_vgg16_has_a_box_a_layer_and_its_mirror_image(tmp_path):
    names, texts = drawn(tmp_path / "a.svg", "vgg16", "--variant", "swwae-all")
    boxes = of(names, "box")
    assert len(boxes) == len(set(boxes)) == 13 + 5 + 3 + 13 + 5
    assert sum(name.startswith(DEC) for name in boxes) == 13 + 5
    assert {"conv3_2", "dec:conv3_2", "conv5_3/pool", "dec:conv5_3/unpool"} < set(boxes)
    pools = [f"conv{end}/pool" for end in ("5_3", "4_3", "3_3", "2_2", "1_2")]
    assert of(names, "switch") == pools
    assert of(names, "loss") == ["conv4_3", "conv3_3", "conv2_2", "conv1_2", "data"]
    assert of(names, "feed") == ["conv5_3"]
    assert of(names, "bracket") == [f"{index}" for index in range(1, 9)]
    assert of(names, "classifier-loss") == ["fc8"]
    assert {"3x3, ReLU → 64x224x224", "MAX 2x2 / 2 → 512x7x7"} < set(texts)
    assert {"dec:conv1_1", "3x3 → 3x224x224"} < set(texts)
    assert {"data  3x224x224", "dec:data  3x224x224"} < set(texts)
    assert {"ReLU, dropout → 4096", "→ 1000"} < set(texts)


@pytest.mark.parametrize(
    ("variant", "switches", "losses", "feeds"),
    [
        ("baseline", 0, 0, 0),
        ("sae-first", 0, 1, 1),
        ("sae-all", 0, 3, 1),
        ("sae-layerwise", 0, 3, 3),
        ("swwae-layerwise", 3, 3, 3),
        ("swwae-first", 3, 1, 1),
    ],
)
def test_variants_differ_in_arrows(variant, switches, losses, feeds, tmp_path):
    names, texts = drawn(tmp_path / "a.svg", "vgg8", "--variant", variant)
    assert len(of(names, "switch")) == switches
    assert len(of(names, "loss")) == losses
    assert len(of(names, "feed")) == feeds
    assert ("pooling switches" in texts) == bool(switches)
    assert ("reconstruction loss" in texts) == bool(losses)
    assert any("to the centre" in text for text in texts) == variant.startswith("sae")


def test_a_layerwise_decoder_ends_beside_where_the_next_begins(tmp_path):
    names, _ = drawn(tmp_path / "a.svg", "vgg8", "--variant", "swwae-layerwise")
    nodes = [name for name in of(names, "node") if name.startswith(DEC)]
    assert nodes == ["dec:conv2_2[2]", "dec:conv1_2[2]", "dec:data"]


def test_a_ladder_has_three_columns_and_lateral_connections(tmp_path):
    names, texts = drawn(tmp_path / "a.svg", "vgg8", "--variant", "ladder")
    boxes = of(names, "box")
    assert len(boxes) == len(set(boxes)) == 2 * (6 + 3 + 2) + 6 + 3
    assert {"noisy:conv1_1", "conv1_1", "dec:conv1_1"} < set(boxes)
    levels = {"conv3_2", "conv2_2", "conv1_2", "data"}
    assert set(of(names, "lateral")) == set(of(names, "loss")) == levels
    assert len(of(names, "lateral")) == len(of(names, "loss")) == len(levels)
    assert of(names, "switch") == [f"noisy:conv{i}_2/pool" for i in (3, 2, 1)]
    assert of(names, "feed") == []
    assert {"noisy encoder", "decoder", "clean encoder"} < set(texts)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_boxes_are_named_as_the_layers_are(network, variant, tmp_path):
    names, _ = drawn(tmp_path / "a.svg", network, "--variant", variant)
    layers = plan(NETWORKS[network], VARIANTS[variant]).networks[0].layers
    known = {layer.name for layer in layers}
    if NETWORKS[network].inverses:
        known.add("dec:conv1")  # one box for -pre, -body and -post
    assert set(of(names, "box")) <= known
    assert len(of(names, "box")) > 10


def test_depth_reaches_into_the_classifier(tmp_path):
    arguments = ("alexnet", "--variant", "sae-first", "--depth", "7")
    names, texts = drawn(tmp_path / "a.svg", *arguments)
    assert {"dec:fc7", "dec:fc6", "dec:conv1"} < set(of(names, "box"))
    assert "dec:fc8" not in of(names, "box")
    assert of(names, "feed") == ["fc7"]
    assert "-pre, -body, -post → 3x227x227" in texts


def test_average_pooling_has_no_switches(tmp_path):
    path = ROOT / "tests/networks/oddities.prototxt"
    names, texts = drawn(tmp_path / "a.svg", str(path))
    assert of(names, "switch") == ["p1"]
    assert {"3x3 / 2, evenly → 6x5x8", "5x3 / 2x1, ELU, LRN → 8x18x31"} < set(texts)
    assert {"dec:c3/unpool", "dec:c1/unpool"} < set(of(names, "box"))


def long_network(path, layers, name="conv"):
    lines = [
        'layer { name: "data" type: "Input" top: "data"'
        " input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"
    ]
    for index in range(layers):
        below = f"{name}{index - 1}" if index else "data"
        lines.append(
            f'layer {{ name: "{name}{index}" type: "Convolution" bottom: "{below}"'
            f' top: "{name}{index}"'
            " convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }"
        )
    path.write_text("\n".join(lines))
    return str(path)


def test_a_picture_grows_with_its_network(tmp_path):
    heights = {}
    for layers in (10, 150):
        path = long_network(tmp_path / "own.prototxt", layers)
        names, texts = drawn(tmp_path / "a.svg", path, "--group", "layer")
        assert "pooling switches" not in texts
        assert len(of(names, "box")) >= layers
        root = ElementTree.parse(tmp_path / "a.svg").getroot()
        heights[layers] = float(root.get("height").removesuffix("pt"))
    a_layer = (heights[150] - heights[10]) / 140
    assert a_layer >= 2 * 0.36 * 72  # a row for its box, one for its activation


def test_names_are_text_and_not_markup(tmp_path):
    path = long_network(tmp_path / "own.prototxt", 1, name=r"<$\\alpha_{$&")
    names, texts = drawn(tmp_path / "a.svg", path, "--depth", "1")
    assert r"<$\alpha_{$&0" in texts
    assert r"dec:<$\alpha_{$&0" in of(names, "box")


@pytest.mark.parametrize(
    ("network", "variant", "depth"),
    [
        ("vgg16", "swwae-all", 5),
        ("vgg16", "sae-layerwise", 8),
        ("alexnet", "sae-first", 7),
        ("alexnet", "ladder", 5),
        ("vgg8", "baseline", 3),
    ],
)
def test_nothing_overlaps(network, variant, depth):
    """No two texts, no two boxes, no text and a box it is not in."""
    figure = Picture(NETWORKS[network], VARIANTS[variant], depth).figure
    FigureCanvasAgg(figure).draw()
    page = figure.bbox
    axes = figure.axes[0]
    extents = [text.get_window_extent() for text in axes.texts]
    extents += [text.get_window_extent() for text in axes.get_legend().get_texts()]
    boxes = [
        patch.get_window_extent()
        for patch in axes.patches
        if (patch.get_gid() or "").startswith(("box:", "node:"))
    ]
    assert len(extents) > len(boxes) > 10
    for extent in (*extents, *boxes):
        assert page.x0 <= extent.x0 and extent.x1 <= page.x1
        assert page.y0 <= extent.y0 and extent.y1 <= page.y1
    for first, second in (*combinations(extents, 2), *combinations(boxes, 2)):
        assert not first.overlaps(second)
    for text in extents:
        for box in boxes:
            inside = box.x0 < text.x0 and text.x1 < box.x1
            inside = inside and box.y0 < text.y0 and text.y1 < box.y1
            assert inside or not text.overlaps(box)


def test_the_same_command_gives_the_same_bytes(tmp_path):
    for suffix in ("svg", "pdf"):
        files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in files:
            assert main(["vgg8", "--draw", str(path)]) == 0
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".PDF"])
def test_other_formats(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    assert main(["vgg8", "--draw", str(path)]) == 0
    assert path.read_bytes()[:4] == {".png": b"\x89PNG", ".PDF": b"%PDF"}[suffix]


def test_a_picture_replaces_another(tmp_path):
    path = tmp_path / "net.svg"
    path.write_text("before")
    assert main(["vgg8", "--draw", str(path)]) == 0
    assert re.match(r"<\?xml", path.read_text())
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.svg"]


def test_mistakes_are_sentences_and_leave_nothing(tmp_path, capsys):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").touch()
    for name, words in (
        ("net.gif", "must end in .svg, .png or .pdf"),
        ("net", "must end in"),
        ("missing/net.svg", "No such file"),
        ("file/net.svg", "Not a directory"),
        ("folder.svg", "is a folder"),
    ):
        assert main(["vgg8", "--draw", str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert len(said.err.splitlines()) == 1
        assert said.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.svg"]
