"""The picture of a network: what is in it, counted in the SVG."""

import xml.etree.ElementTree as ElementTree

import pytest

from generator.__main__ import main

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path, *arguments):
    """Artists by name, and every text."""
    assert main([*arguments, "--draw", str(path)]) == 0
    root = ElementTree.parse(path).getroot()
    names = [group.get("id") for group in root.iter(f"{SVG}g") if group.get("id")]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    return names, texts


def of(names, kind):
    return [name.removeprefix(f"{kind}:") for name in names if name.startswith(kind)]


def test_vgg16_has_a_box_a_layer_and_its_mirror_image(tmp_path):
    names, texts = drawn(tmp_path / "a.svg", "vgg16", "--variant", "swwae-all")
    boxes = of(names, "box")
    encoder = [name for name in boxes if not name.startswith("dec:")]
    assert len(encoder) == 13 + 5 + 3
    assert len(boxes) - len(encoder) == 13 + 5
    assert {"conv3_2", "dec:conv3_2", "conv5_3/pool", "dec:conv5_3/unpool"} < set(boxes)
    assert of(names, "switch") == [
        f"conv{i}/pool" for i in ("5_3 4_3 3_3 2_2 1_2").split()
    ]
    assert of(names, "loss") == ["conv4_3", "conv3_3", "conv2_2", "conv1_2", "data"]
    assert of(names, "feed") == ["conv5_3"]
    assert "dec:conv1_1" in texts
    assert "64, 3x3, ReLU" in texts


@pytest.mark.parametrize(
    ("variant", "switches", "losses", "feeds"),
    [
        ("baseline", 0, 0, 0),
        ("sae-first", 0, 1, 1),
        ("sae-all", 0, 3, 1),
        ("swwae-layerwise", 3, 3, 3),
        ("swwae-first", 3, 1, 1),
    ],
)
def test_variants_differ_in_arrows(variant, switches, losses, feeds, tmp_path):
    names, _ = drawn(tmp_path / "a.svg", "vgg8", "--variant", variant)
    assert len(of(names, "switch")) == switches
    assert len(of(names, "loss")) == losses
    assert len(of(names, "feed")) == feeds


def test_a_ladder_has_three_columns_and_lateral_connections(tmp_path):
    names, _ = drawn(tmp_path / "a.svg", "vgg8", "--variant", "ladder")
    assert {"noisy:conv1_1", "conv1_1", "dec:conv1_1"} < set(of(names, "box"))
    levels = {"conv3_2", "conv2_2", "conv1_2", "data"}
    assert set(of(names, "lateral")) == set(of(names, "loss")) == levels


def test_depth_reaches_into_the_classifier(tmp_path):
    names, _ = drawn(
        tmp_path / "a.svg", "alexnet", "--variant", "sae-first", "--depth", "7"
    )
    boxes = of(names, "box")
    assert "dec:fc7" in boxes
    assert "dec:fc8" not in boxes


def test_the_same_command_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        drawn(tmp_path / f"{name}.svg", "vgg8")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_other_formats(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    assert main(["vgg8", "--draw", str(path)]) == 0
    assert path.read_bytes()[:4] == {".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]


def test_mistakes_are_sentences_and_leave_nothing(tmp_path, capsys):
    (tmp_path / "folder.svg").mkdir()
    for name, words in (
        ("net.gif", ".svg"),
        ("missing/net.svg", "No such file"),
        ("folder.svg", "is a folder"),
    ):
        assert main(["vgg8", "--draw", str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]
