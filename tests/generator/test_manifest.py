"""models/<net>/network.json: what it says, how it grows, what it does without."""

import json
import shutil

import pytest

from generator import manifest
from generator.__main__ import main
from generator.errors import UserError
from generator.networks import NETWORKS
from generator.variants import VARIANTS
from swwae.base import project
from swwae.runs.networks import depths
from swwae.runs.run import Run
from tests.helpers.generating import generate

FIXTURE = project.ROOT / "tests/networks/oddities.prototxt"


def generated(out, *arguments):
    assert main([*map(str, arguments), "--out", str(out)]) == 0


def entries(out, net):
    made = manifest.read(out, net).made
    return {(entry.variant, entry.depth): entry.command for entry in made}


@pytest.mark.parametrize("net", NETWORKS)
def test_a_built_in_networks_manifest_knows_every_variant(net):
    known = manifest.read(project.ROOT, net)
    network = NETWORKS[net]
    assert (known.depth, known.max_depth) == (network.depth, network.max_depth)
    for variant in VARIANTS:
        entry = known.entry(variant)
        assert entry.command == f"python -m generator {net} --variant {variant}"
        assert known.place(entry) == f"{net}/{variant}"


def test_a_variant_and_a_depth_are_added(tmp_path):
    generated(tmp_path, "vgg8", "--variant", "baseline")
    generated(tmp_path, "vgg8", "--variant", "sae-layerwise")
    deeper = ["--variant", "sae-layerwise", "--depth", 2, "--data", "data/mnist"]
    generated(tmp_path, "vgg8", *deeper)
    assert entries(tmp_path, "vgg8") == {
        ("baseline", 3): "python -m generator vgg8 --variant baseline",
        ("sae-layerwise", 2): (
            "python -m generator vgg8 --variant sae-layerwise --depth 2"
            " --data data/mnist"
        ),
        ("sae-layerwise", 3): "python -m generator vgg8 --variant sae-layerwise",
    }
    known = manifest.read(tmp_path, "vgg8")
    places = [known.place(entry) for entry in known.made]
    assert "vgg8/sae-layerwise/depth2" in places
    generated(tmp_path, "vgg8", "--variant", "baseline", "--data", "data/mnist")
    command = entries(tmp_path, "vgg8")["baseline", 3]
    assert command == "python -m generator vgg8 --variant baseline --data data/mnist"
    assert len(entries(tmp_path, "vgg8")) == 3


def test_another_depth_of_a_built_in_network_goes_without_saying(tmp_path):
    """So that the committed manifest stays as it is."""
    generated(tmp_path, "vgg8", "--variant", "sae-layerwise")
    before = (tmp_path / "models/vgg8/network.json").read_bytes()
    generated(tmp_path, "vgg8", "--variant", "sae-layerwise", "--depth", 2)
    assert (tmp_path / "models/vgg8/sae-layerwise/depth2/deploy.prototxt").is_file()
    assert (tmp_path / "models/vgg8/network.json").read_bytes() == before


def test_a_command_of_the_manifest_makes_the_same_files(tmp_path):
    options = ["--labels", 100, "--epochs", "0=3", "--mean-value", "3.5"]
    generated(tmp_path / "a", "vgg8", *options)
    for command in entries(tmp_path / "a", "vgg8_labels100").values():
        words = command.removeprefix("python -m generator ").split(" ")
        generated(tmp_path / "b", *words)
    for path in filter(lambda p: p.is_file(), (tmp_path / "a").rglob("*")):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()


def test_another_networks_name_is_refused_by_the_manifest(tmp_path):
    copy = tmp_path / "copy.prototxt"
    shutil.copy(FIXTURE, copy)
    generated(tmp_path / "out", FIXTURE, "--name", "odd", "--variant", "baseline")
    done = generate(copy, "--name", "odd", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"was generated from {FIXTURE}, not from {copy}" in done.stderr
    (tmp_path / "out/models/odd/network.json").unlink()  # as before there was one
    done = generate(copy, "--name", "odd", "--out", tmp_path / "out")
    assert f"was generated from {FIXTURE}, not from {copy}" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"net": "odd"}',
        '{"net": "other", "title": "", "depth": 1, "max_depth": 2, "made": []}',
        '{"net": "odd", "title": "", "depth": 3, "max_depth": 2, "made": []}',
        '{"net": "odd", "title": "", "depth": "1", "max_depth": 2, "made": []}',
        '{"net": "odd", "title": "", "depth": 1, "max_depth": 2, "made": [1]}',
        "[" * 100000,
    ],
)
def test_a_damaged_manifest_is_a_sentence(text, tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    generated(tmp_path, FIXTURE, "--name", "odd", "--variant", "baseline")
    (tmp_path / "models/odd/network.json").write_text(text)
    again = f".venv/bin/python -m generator {FIXTURE} --name odd"
    with pytest.raises(UserError, match="is no manifest of odd: .* Remove it") as error:
        Run("odd", "baseline", 4)
    assert str(error.value).endswith(again)
    done = generate(FIXTURE, "--name", "odd", "--out", tmp_path)
    assert done.returncode == 2
    assert "is no manifest of odd" in done.stderr
    assert "Traceback" not in done.stderr


def test_networks_without_a_manifest_name_the_command_that_makes_it(
    tmp_path, monkeypatch
):
    """As they were generated before there were manifests."""
    monkeypatch.setattr(project, "ROOT", tmp_path)
    generated(tmp_path, FIXTURE, "--name", "odd")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    path = tmp_path / "models/odd/network.json"
    path.unlink()
    with pytest.raises(UserError, match="odd has no network.json") as error:
        Run("odd", "swwae-all", 4)
    command = str(error.value).partition(".venv/bin/python -m generator ")[2]
    assert command == f"{FIXTURE} --name odd"
    generated(tmp_path, *command.split(" "))
    assert {p: p.read_bytes() for p in before} == before
    assert depths("odd") == (2, 4)


def test_a_folder_that_was_made_by_hand_needs_none(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    path = tmp_path / "models/mine/baseline/train_val.prototxt"
    path.parent.mkdir(parents=True)
    path.write_text('name: "mine"\n')
    assert Run("mine", "baseline", 4).network == path
    assert depths("mine") == (None, None)


def test_files_and_manifest_are_all_written_or_none(tmp_path, monkeypatch):
    generated(tmp_path, "vgg8", "--variant", "baseline")
    path = tmp_path / "models/vgg8/network.json"
    before = path.read_bytes()
    (tmp_path / "models/vgg8/ladder").write_text("in the way")
    done = generate("vgg8", "--variant", "ladder", "--out", tmp_path)
    assert done.returncode == 2
    assert path.read_bytes() == before
    assert json.loads(before)["made"][0]["variant"] == "baseline"


def test_a_file_of_that_name_that_is_not_ours_stays(tmp_path):
    path = tmp_path / "models/vgg8/network.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": 1}')
    done = generate("vgg8", "--variant", "baseline", "--out", tmp_path)
    assert done.returncode == 2
    assert "is no manifest of vgg8" in done.stderr
    assert path.read_text() == '{"mine": 1}'
