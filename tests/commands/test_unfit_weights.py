"""Weights that fit nothing: one sentence, from every command that is given some."""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.evaluation.model import FullyConvolutional, Model
from tests.helpers import made_runs

UNFIT = {
    "missing": "No such file or directory|has not been run|cannot be read",
    "truncated": "is not a whole .caffemodel",
    "of other shapes": r"another network's|has shapes .* but|does not make",
    "not finite": "layer conv2_1 of .* holds numbers that are not finite",
}
NET = ("--net", "vgg8", "--variant", "swwae-all")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {kind: folder / f"{kind}.caffemodel" for kind in UNFIT}
    good = folder / "good.caffemodel"
    made_runs.random_weights("swwae-all", good)
    content = good.read_bytes()
    paths["truncated"].write_bytes(content[: len(content) // 2])
    weights = caffe_pb2.NetParameter.FromString(content)
    layer_of(weights).blobs[0].data[7] = float("nan")
    paths["not finite"].write_bytes(weights.SerializeToString())
    weights = caffe_pb2.NetParameter.FromString(content)
    blob = layer_of(weights).blobs[0]
    del blob.data[9:]
    blob.shape.dim[:] = (1, 1, 3, 3)
    paths["of other shapes"].write_bytes(weights.SerializeToString())
    return paths


def layer_of(weights: caffe_pb2.NetParameter) -> caffe_pb2.LayerParameter:
    return next(layer for layer in weights.layer if layer.name == "conv2_1")


def command(name: str, *arguments: str) -> Callable[[Path, Path], object]:
    """A command with weights in place of WEIGHTS, and OUT/ in a folder, in this
    process."""

    def call(weights: Path, folder: Path) -> object:
        words = [word.replace("OUT", str(folder)) for word in arguments]
        words = [str(weights) if word == "WEIGHTS" else word for word in words]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [name, *words])
            module = import_module(f"swwae.commands.{name}")
            if hasattr(module, "require_databases"):
                patch.setattr(module, "require_databases", lambda *_: None)
            return module.main()

    return call


GIVEN = ("--weights", "WEIGHTS")
TAKERS = {
    "evaluate": command("evaluate", *NET, *GIVEN),
    "evaluate, convolution": command(
        "evaluate", *NET, *GIVEN, "--scheme", "convolution"
    ),
    "reconstruct": command(
        "reconstruct", *NET, *GIVEN, "unseen:text", "--out", "OUT/x.png"
    ),
    "export_weights": command(
        "export_weights", "WEIGHTS", *NET, "--out", "OUT/x.safetensors"
    ),
    "import_weights": command(
        "import_weights", "WEIGHTS", *NET, "--out", "OUT/x.caffemodel"
    ),
    "to_convolution": command(
        "to_convolution", *NET, *GIVEN, "--out", "OUT/x.caffemodel"
    ),
    "find_lr": command("find_lr", "--net", "vgg8", *GIVEN, "--dry-run"),
    "balance_losses": command("balance_losses", *NET, *GIVEN),
    "a notebook": lambda weights, _: Model("vgg8", "swwae-all", None, weights),
    "a notebook, convolution": lambda weights, _: FullyConvolutional(
        "vgg8", "swwae-all", None, weights
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("taker", TAKERS)
def test_unfit_weights_are_a_sentence(taker, kind, given, tmp_path):
    with pytest.raises(UserError) as refusal:
        TAKERS[taker](given[kind], tmp_path)
    sentence = str(refusal.value)
    assert re.search(UNFIT[kind], sentence), sentence
    assert given[kind].name in sentence
    assert not list(tmp_path.iterdir())
