"""The options of importing, its files and its command, and the mean that is noted."""

import re
import subprocess
import sys

import numpy as np
import pytest

from generator.__main__ import main as generator
from generator.errors import UserError
from generator.networks import VGG8
from swwae.base.project import ROOT
from swwae.exchange.exporting import load
from swwae.exchange.folding import first_layer
from swwae.exchange.importing import (
    chosen_normalisation,
)
from swwae.exchange.torch_files import read_state_dict
from swwae.nets.deployed import deployed
from swwae.nets.normalisation import TORCHVISION
from tests.helpers import small

# --- options, files, the command


def test_normalisations(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    assert chosen_normalisation(net) == TORCHVISION
    assert chosen_normalisation(net, bgr=True).mean == (0.406, 0.456, 0.485)
    grey = small.deployed_of(VGG8, "baseline", tmp_path)
    chosen = chosen_normalisation(grey)
    assert chosen.mean == pytest.approx((55.845 / 255,)) and chosen.std == (1,)
    scaled = first_layer(grey)
    assert scaled.layer.name == "conv1_1"
    assert scaled.pixels.std == pytest.approx(
        (1,), rel=1e-6
    )  # data/scaled is before it
    nan, inf = float("nan"), float("inf")
    for wrong in (
        {"mean": (0.5,)},
        {"mean": (0, nan, 0)},
        {"std": (1, 1)},
        {"std": (1, 0, 1)},
        {"std": (1, inf, 1)},
    ):
        with pytest.raises(UserError, match=next(iter(wrong))):
            chosen_normalisation(net, **wrong)


def test_a_type_that_numpy_has_not_is_said(tmp_path):
    header = b'{"conv1_1.weight":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(UserError, match="BF16, .* float32"):
        read_state_dict(file).array("conv1_1.weight")


def test_a_header_without_an_end_is_damage(tmp_path):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0]}}'
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match="its header is damaged; get the file again"):
        read_state_dict(file)


def test_without_torch_the_sentence_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02.")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[torch\]'"):
        read_state_dict(tmp_path / "x.pth")


def command(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "tools/import_weights.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("no.safetensors", [], "No such file"),
        ("page.pth.tar", [], "page.pth.tar is a web page, not the weights"),
        ("cut.safetensors", [], "is not a whole .safetensors file"),
        ("cut.caffemodel", [], "is not a whole .caffemodel"),
        ("cut.caffemodel", ["--mean", "1,2,3"], "are for state dicts"),
        ("cut.safetensors", ["--mean", "1;2"], "numbers separated by commas"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(name, more, words, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (tmp_path / "page.pth.tar").write_bytes(b"<!DOCTYPE html><p>404</p>")
    (tmp_path / "cut.caffemodel").write_bytes(b"\x0a\x40vgg")
    out = tmp_path / "out.caffemodel"
    done = command(tmp_path / name, "--net", "vgg8", "--out", out, *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_the_command_brings_back_what_was_exported(tmp_path):
    """vgg8, a built-in network: grey, its scale in a layer of its own."""
    net = deployed("vgg8", "swwae-first")
    file = tmp_path / "vgg8.caffemodel"
    before = small.weighted(net, file)
    for tool, source, out in (
        ("export_weights", file, tmp_path / "vgg8.safetensors"),
        ("import_weights", tmp_path / "vgg8.safetensors", tmp_path / "b.caffemodel"),
    ):
        arguments = ["--net", "vgg8", "--variant", "swwae-first", "--out", out]
        arguments += ["--part", "both"] if tool == "export_weights" else []
        done = subprocess.run(
            [sys.executable, ROOT / f"tools/{tool}.py", source, *arguments],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "exact everywhere" in done.stdout
    after = load(net, tmp_path / "b.caffemodel")
    for name, blobs in before.params.items():
        for blob, other in zip(blobs, after.params[name], strict=True):
            np.testing.assert_allclose(other.data, blob.data, rtol=1e-5, atol=1e-6)


# --- the generator's --mean-value


def test_mean_value_is_subtracted_and_noted(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    arguments = [
        "vgg16",
        "--variant",
        "baseline",
        "--mean-value",
        "103.53,116.28,123.675",
    ]
    assert generator([*arguments, *out]) == 0
    text = (tmp_path / "models/vgg16/baseline/train_val.prototxt").read_text()
    assert re.findall(r"mean_value: (\S+)", text) == ["103.53", "116.28", "123.675"] * 2
    head = text.partition("\n")[0]
    assert "vgg16 --variant baseline --mean-value 103.53,116.28,123.675`" in head
    capsys.readouterr()


@pytest.mark.parametrize(
    ("net", "text"),
    [
        ("vgg16", "103.53"),
        ("vgg16", "103.53,116.28,300"),
        ("vgg16", "1,2,x"),
        ("vgg8", "1,2,3"),
        (str(ROOT / "tests/networks/nin.prototxt"), "1,2,3"),
    ],
)
def test_other_mean_values_are_refused(net, text, tmp_path, capsys):
    arguments = [net, "--mean-value", text, "--out", str(tmp_path / "out")]
    assert generator(arguments) == 2
    assert "--mean-value" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
