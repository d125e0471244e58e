"""Loss weights from measured losses, on a network whose losses are known."""

import json
import math

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from swwae.base.project import CAFFE
from tests.helpers.linear_project import Project

if not CAFFE.exists():
    pytest.skip("Caffe's program is not built", allow_module_level=True)

SHAPES = {"dec:f2": (3, 3), "dec:f1": (4, 3)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With decoders that double: dec:f2 yields twice a_2, dec:f1 twice its first
    places."""
    project = Project(tmp_path_factory.mktemp("balance") / "project")
    network = caffe_pb2.NetParameter.FromString(project.classifier.read_bytes())
    for name, shape in SHAPES.items():
        layer = network.layer.add(name=name)
        for values in (2 * np.eye(*shape), np.zeros(shape[0])):
            blob = layer.blobs.add()
            blob.shape.dim.extend(values.shape)
            blob.data.extend(values.ravel())
    (project.root / "whole.caffemodel").write_bytes(network.SerializeToString())
    return project


def balance(project: Project, variant: str, *options: object) -> dict:
    """The tool's JSON; its weights are those of rates.json."""
    weights = ("--weights", "whole.caffemodel", "--batches", 3)
    arguments = ("--variant", variant, *weights, "--json", "balance.json", *options)
    said = project.tool("balance_losses.py", *arguments)
    assert f"python -m generator linear.prototxt --variant {variant}" in said
    result = json.loads((project.root / "balance.json").read_text())
    written = json.loads((project.root / "solvers/linear/rates.json").read_text())
    values = written["loss_weights"][variant]["values"]
    assert values == {
        str(loss["activation"]): loss["new_weight"] for loss in result["losses"]
    }
    return result


def raw_losses(project: Project, stacked: bool) -> list[float]:
    """Of a_0 and a_1: Caffe's, half the squared distance."""
    image, first, second = project.activations
    first_again = 2 * second
    source = first_again if stacked else first
    image_again = np.append(2 * source, 0)
    return [
        float(((image_again - image) ** 2).sum() / 2),
        float(((first_again - first) ** 2).sum() / 2),
    ]


@pytest.mark.parametrize("variant", ["swwae-all", "swwae-layerwise"])
def test_weighted_losses_become_the_images(project, variant):
    result = balance(project, variant)
    wanted = raw_losses(project, stacked=variant == "swwae-all")
    losses = result["losses"]
    assert [loss["raw"] for loss in losses] == pytest.approx(wanted, rel=1e-4)
    target = losses[0]["present_weight"] * wanted[0]
    for loss, raw in zip(losses, wanted, strict=True):
        assert loss["new_weight"] == float(f"{target / raw:.2g}")
    assert losses[0]["new_weight"] == losses[0]["present_weight"]
    assert result["classification_loss"] == pytest.approx(math.log(2), rel=1e-4)


def test_a_target_and_a_ratio_to_the_classification_loss(project):
    wanted = raw_losses(project, stacked=True)
    for options, target in (
        (("--target", 0.25), 0.25),
        (("--ratio", 0.1), 0.1 * math.log(2)),
    ):
        losses = balance(project, "swwae-all", *options)["losses"]
        weighted = [loss["new_weight"] * loss["raw"] for loss in losses]
        assert weighted == pytest.approx([target, target], rel=0.05)
        assert losses[1]["raw"] == pytest.approx(wanted[1], rel=1e-4)


def test_the_generator_takes_them(project):
    new = balance(project, "swwae-all", "--target", 0.5)["losses"]
    project.generate()
    text = (project.root / "models/linear/swwae-all/train_val.prototxt").read_text()
    weights = [float(part.split()[0]) for part in text.split("loss_weight: ")[1:]]
    assert weights == [loss["new_weight"] for loss in reversed(new)]
    solver = project.root / "solvers/linear/swwae-all/stage3.prototxt"
    assert "tools/balance_losses.py" in solver.read_text()
    (project.root / "solvers/linear/rates.json").unlink()
    project.generate()


def test_nothing_is_left_of_the_measurement(project):
    balance(project, "swwae-layerwise")
    folder = project.root / "runs"
    assert not folder.exists() or not list(folder.glob(".balance*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--variant", "baseline"), "no decoder"),
        (("--variant", "swwae-first"), "nothing to balance"),
        (("--variant", "swwae-al"), "did you mean swwae-all"),
        (("--target", 1, "--ratio", 1), "not allowed with"),
        (("--target", "-1"), "no number above 0"),
        (("--json", "nowhere/file.json"), "make it first"),
        ((), "tools/run_stage.sh 2 --net linear --variant swwae-layerwise"),
    ],
)
def test_what_is_refused(project, arguments, said):
    assert said in project.tool("balance_losses.py", *arguments, code=2)


def test_a_damaged_rates_json_is_refused_before_the_work(project):
    path = project.root / "solvers/linear/rates.json"
    before = path.read_bytes() if path.is_file() else None
    path.write_text("{")
    said = project.tool("balance_losses.py", "--weights", "whole.caffemodel", code=2)
    assert "no file of rates for linear" in said and path.read_text() == "{"
    path.unlink() if before is None else path.write_bytes(before)


def test_a_loss_that_is_no_number_is_refused(project):
    network = caffe_pb2.NetParameter.FromString(
        (project.root / "whole.caffemodel").read_bytes()
    )
    layer = next(layer for layer in network.layer if layer.name == "dec:f1")
    layer.blobs[0].data[0] = 1e30
    (project.root / "huge.caffemodel").write_bytes(network.SerializeToString())
    options = ("--weights", "huge.caffemodel", "--batches", 1)
    said = project.tool("balance_losses.py", *options, code=2)
    assert "no weight can balance it" in said
