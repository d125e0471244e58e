"""run_stage.sh on a network of a few hundred parameters, with the real Caffe."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from swwae.stages.checksums import added, removed
from tests.helpers.stage_files import parameters
from tests.helpers.tiny_project import (
    BATCH,
    CLASSIFIER,
    DECODER,
    ENCODER,
    EPOCH,
    LOSS,
    Project,
)


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    return {p.name: sha256(p) for p in folder.iterdir() if p.name != ".lock"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[int, str]]:
    """swwae-all through every stage, and what each printed."""
    project = Project(tmp_path_factory.mktemp("stages") / "project")
    said = {
        stage: project.run(stage, "--variant", "swwae-all") for stage in (0, 1, 2, 3, 4)
    }
    return project, said


# --- the stages, one after the other


def test_every_stage_ends_with_every_layer(trained):
    project, _ = trained
    for variant, stage in (
        ("swwae-layerwise", 1),
        ("swwae-layerwise", 2),
        ("swwae-all", 3),
        ("swwae-all", 4),
    ):
        final = parameters(project.folder(variant, stage) / "final.caffemodel")
        assert set(final) == {*ENCODER, *CLASSIFIER, *DECODER}


def test_each_stage_changes_what_it_trains_alone(trained):
    project, _ = trained
    runs = [
        ("baseline", 0),
        ("swwae-layerwise", 1),
        ("swwae-layerwise", 2),
        ("swwae-all", 3),
        ("swwae-all", 4),
    ]
    weights = [
        parameters(project.folder(variant, stage) / "final.caffemodel")
        for variant, stage in runs
    ]
    for before, after in zip(weights[:3], weights[1:4], strict=True):
        assert same(before["conv1"], after["conv1"])
        assert same(before["fc2"], after["fc2"])
    for before, after in zip(weights[1:4], weights[2:5], strict=True):
        assert not same(before["dec:conv1"], after["dec:conv1"])
    for layer in (*ENCODER, *CLASSIFIER):
        assert not same(weights[3][layer], weights[4][layer])


def test_fresh_decoders_are_gaussian_and_follow_the_seed(trained, tmp_path):
    project, _ = trained
    final = project.folder("swwae-layerwise", 1) / "final.caffemodel"
    weight, bias = parameters(final)["dec:conv1"]
    assert weight.shape == (4, 1, 2, 2)
    assert 0 < np.abs(weight).max() < 0.05
    assert not bias.any()
    copy = Project(tmp_path / "project")
    for seed, equal in ((1, True), (2, False)):
        copy.run(
            1,
            *("--seed", seed, "--force", "--weights"),
            project.folder("baseline", 0) / "final.caffemodel",
        )
        other = parameters(copy.folder("swwae-layerwise", 1) / "final.caffemodel")
        assert same([weight, bias], other["dec:conv1"]) is equal


def test_what_is_said(trained):
    _, said = trained
    assert "stage 0 of tiny/baseline" in said[0]
    assert "fresh" in said[0] and "conv1, fc2" in said[0]
    conv, fc, dec = 4 * 9 + 4, 2 * 64 + 2, 4 * 4 + 1
    assert f"2 layers, {conv + fc} parameters" in said[1]
    assert f"1 layer, {dec} parameters: dec:conv1" in said[1]
    assert f"2 layers, {conv + dec} parameters" in said[2]
    assert "fc2 (carried along" in said[2]
    assert f"3 layers, {conv + fc + dec} parameters" in said[4]
    assert "swwae-all takes stage 2 from swwae-layerwise" in said[2]
    assert f"of {BATCH} images" in said[4]
    assert said[4].count("CPU (no GPU found)") == 1
    assert LOSS in said[4] and "x 0.5" in said[4]


def test_status_tells_where_the_weights_come_from(trained):
    project, _ = trained
    status = project.status("swwae-all", 4)
    before = project.folder("swwae-all", 3) / "final.caffemodel"
    after = project.folder("swwae-all", 4) / "final.caffemodel"
    assert status["state"] == "finished"
    assert (status["net"], status["variant"], status["stage"]) == (
        "tiny",
        "swwae-all",
        4,
    )
    assert status["weights_in"] == {
        "path": "runs/tiny/swwae-all/stage3/final.caffemodel",
        "sha256": sha256(before),
    }
    assert status["weights_out"] == {
        "path": "runs/tiny/swwae-all/stage4/final.caffemodel",
        "sha256": sha256(after),
    }
    assert status["iterations"] == status["max_iter"] == 2 * EPOCH
    assert status["seed"] == 5
    assert status["seconds"] > 0
    assert status["command"][:2] == ["tools/run_stage.sh", "4"]
    assert (
        "--weights=runs/tiny/swwae-all/stage3/final.caffemodel"
        in (status["caffe_command"])
    )
    assert status["versions"]["numpy"] == np.__version__
    assert status["copied"]["layers"] == ["conv1", "fc2", "dec:conv1"]
    assert status["fresh"] == {"layers": [], "parameters": 0}


def test_status_has_the_logs_last_losses(trained):
    project, _ = trained
    status = project.status("swwae-all", 4)
    losses = status["final_losses"]
    assert losses[LOSS]["weight"] == 0.5
    assert losses["loss"]["weight"] == 1
    lines = (project.folder("swwae-all", 4) / "train.log").read_text().splitlines()
    for name, phase, found in (
        (LOSS, "Train", losses[LOSS]["value"]),
        ("accuracy", "Test", status["test_outputs"]["accuracy"]["value"]),
    ):
        printed = [line for line in lines if f"{phase} net output" in line]
        last = [line for line in printed if f": {name} = " in line][-1]
        assert float(last.partition(f"{name} = ")[2].split()[0]) == found


def test_effective_solver(trained):
    project, _ = trained
    text = (project.folder("swwae-all", 4) / "solver.prototxt").read_text()
    assert 'snapshot_prefix: "runs/tiny/swwae-all/stage4/snapshot"' in text
    assert "solver_mode: CPU" in text
    assert "random_seed: 5" in text


# --- run again


def test_a_finished_stage_does_nothing_until_forced(trained):
    project, _ = trained
    folder = project.folder("swwae-all", 4)
    before = checksums(folder)
    assert "is finished" in project.run(4, "--variant", "swwae-all")
    assert before == checksums(folder)
    (folder / "left-over").touch()
    project.run(4, "--variant", "swwae-all", "--force", "--max-iter", EPOCH)
    assert not (folder / "left-over").exists()
    assert project.status("swwae-all", 4)["iterations"] == EPOCH
    # more iterations than were done: it goes on, and equals the run in one piece
    said = project.run(4, "--variant", "swwae-all")
    assert f"snapshot of iteration {EPOCH}" in said
    assert project.status("swwae-all", 4)["resumed_from"] == [EPOCH]
    assert sha256(folder / "final.caffemodel") == before["final.caffemodel"]


# --- what goes wrong


def spoil(path: Path, layer: str) -> None:
    content = removed(path.read_bytes())
    network = caffe_pb2.NetParameter.FromString(content)
    (found,) = (each for each in network.layer if each.name == layer)
    found.blobs[0].data[0] = float("nan")
    path.write_bytes(added(network.SerializeToString()))


def test_snapshots_and_weights_that_are_not_finite_are_refused(trained, tmp_path):
    donor, _ = trained
    classifier = tmp_path / "classifier.caffemodel"
    shutil.copyfile(donor.folder("baseline", 0) / "final.caffemodel", classifier)
    spoil(classifier, "fc2")
    project = Project(tmp_path / "project")
    sentence = f"layer fc2 of {classifier} holds numbers that are not finite"
    assert sentence in project.run(1, "--weights", classifier, code=2)
    shutil.copytree(donor.folder("baseline", 0), project.folder("baseline", 0))
    (snapshot,) = project.folder("baseline", 0).glob("snapshot*.caffemodel")
    spoil(snapshot, "conv1")
    final = project.folder("baseline", 0) / "final.caffemodel"
    said = project.run(0, "--max-iter", 5 * EPOCH, code=2)
    assert f"snapshot {4 * EPOCH} is skipped: layer conv1" in said
    assert "starting over would replace" in said and "--force" in said
    final.rename(tmp_path / "kept")
    said = project.run(0, "--max-iter", 5 * EPOCH)
    assert "it starts over" in said and final.is_file()


def test_refused_weights(trained, tmp_path):
    donor, _ = trained
    classifier = donor.folder("baseline", 0) / "final.caffemodel"
    project = Project(tmp_path / "project")
    project.write_networks("swwae-layerwise", outputs=3)
    said = project.run(1, "--weights", classifier, code=2)
    assert "layer conv1 has shapes 3x1x3x3, 3 in" in said
    assert "models/tiny/swwae-layerwise/train_val.prototxt" in said
    assert f"4x1x3x3, 4 in {classifier}" in said
    assert not (project.folder("swwae-layerwise", 1) / "final.caffemodel").exists()
    # an encoder must not begin from random numbers
    network = caffe_pb2.NetParameter()
    network.ParseFromString(classifier.read_bytes())
    layers = [layer for layer in network.layer if layer.name != "conv1"]
    headless = tmp_path / "headless.caffemodel"
    headless.write_bytes(caffe_pb2.NetParameter(layer=layers).SerializeToString())
    said = project.run(2, "--weights", headless, code=2)
    assert "not a single layer" in said and "fc2" in said
    project.write_networks("swwae-layerwise")
    said = project.run(1, "--weights", headless, code=2)
    assert "layer conv1 of" in said and "random numbers" in said
    said = project.run(1, "--weights", tmp_path / "nowhere", code=2)
    assert "nowhere cannot be read" in said


def test_a_stage_whose_start_was_made_anew(trained, tmp_path):
    donor, _ = trained
    project = Project(tmp_path / "project")
    shutil.copytree(donor.root / "runs", project.root / "runs")
    started = project.folder("swwae-all", 3) / "final.caffemodel"
    other = project.folder("swwae-layerwise", 2) / "final.caffemodel"
    then = sha256(started)
    shutil.copyfile(other, started)
    said = project.run(4, "--variant", "swwae-all", code=2)
    sentence = (
        "run_stage.sh: stage 4 of tiny/swwae-all is out of date, as the weights"
        " runs/tiny/swwae-all/stage3/final.caffemodel that it began from have changed"
        f" since (sha256 {then[:8]} then, {sha256(other)[:8]} now);"
        " tools/run_stage.sh 4 --net tiny --variant swwae-all --force makes it"
        " anew.\n"
    )
    assert said == sentence
    status = project.status("swwae-all", 4)
    path = project.folder("swwae-all", 4) / "status.json"
    path.write_text(json.dumps(status | {"state": "interrupted"}))
    assert project.run(4, "--variant", "swwae-all", code=2).endswith(sentence)


def test_a_stage_whose_files_have_changed(trained, tmp_path):
    donor, _ = trained
    project = Project(tmp_path / "project")
    shutil.copytree(donor.root / "runs", project.root / "runs")
    last = (4, "--variant", "swwae-all")
    network = project.root / "models" / "tiny" / "swwae-all" / "train_val.prototxt"
    network.write_text("# a comment\n" + network.read_text())
    project.write_solver("swwae-all", 4, display=3, snapshot=5)
    assert "is finished" in project.run(*last)  # all that does not matter
    text = network.read_text()
    network.write_text(text.replace("loss_weight: 0.5", "loss_weight: 1"))
    project.write_solver("swwae-all", 4, base_lr=0.02)
    said = project.run(*last, code=2)
    assert re.sub(r"sha256 \w{8} then, \w{8} now", "sha256", said) == (
        "run_stage.sh: stage 4 of tiny/swwae-all is out of date, as its solver"
        " solvers/tiny/swwae-all/stage4.prototxt has changed since (base_lr 0.01 then,"
        " 0.02 now) and its network models/tiny/swwae-all/train_val.prototxt has"
        " changed since (sha256); tools/run_stage.sh 4 --net tiny --variant swwae-all"
        " --force makes it anew.\n"
    )
    # likewise where it would be resumed
    path = project.folder("swwae-all", 4) / "status.json"
    status = project.status("swwae-all", 4)
    path.write_text(json.dumps(status | {"state": "interrupted"}))
    assert "stage4.prototxt has changed since" in project.run(*last, code=2)
    project.run(*last, "--force")
    assert "is finished" in project.run(*last)
    # nor does a later stage build on it
    project.write_solver("swwae-layerwise", 2, base_lr=0.02)
    said = project.run(*last, "--force", code=2)
    assert "stage 2 of tiny/swwae-layerwise is out of date" in said
    command = "tools/run_stage.sh 2 --net tiny --variant swwae-layerwise --force"
    assert command in said


def test_stage_1_needs_no_database(trained, tmp_path):
    donor, _ = trained
    project = Project(tmp_path / "project")
    shutil.rmtree(project.root / "data")
    said = project.run(1, "--weights", tmp_path / "nowhere", code=2)
    assert "nowhere cannot be read" in said
    project.run(1, "--weights", donor.folder("baseline", 0) / "final.caffemodel")
    names = sorted(p.name for p in project.folder("swwae-layerwise", 1).iterdir())
    assert names == [".lock", "final.caffemodel", "status.json"]
    assert parameters(project.folder("swwae-layerwise", 1) / "final.caffemodel")
    said = project.run(0, code=2)
    assert "data/tiny/train_lmdb" in said
    assert "is missing: data/README.md says how one is made." in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("3", "--variant", "swwae-layerwise"), "the paper skips it"),
        (("2", "--variant", "baseline"), "its stages are 0, 1 and 4"),
        (("2", "--variant", "swae-all"), "did you mean swwae-all?"),
        (("2", "--net", "tini"), "did you mean tiny?"),
        (("5",), "invalid choice"),
        (("2", "--depth", "0"), "--depth 0"),
    ],
)
def test_mistakes_on_the_command_line(trained, arguments, sentence):
    project, _ = trained
    said = project.run(*arguments, code=2)
    assert sentence in said
    assert said.splitlines()[-1].startswith("run_stage.sh: ")


def test_what_logs_look_like_elsewhere_changes_nothing(project, monkeypatch):
    """Without their prefix, no line of Caffe's would be understood."""
    monkeypatch.setenv("GLOG_log_prefix", "0")
    said = project.run(0, "--variant", "baseline")
    assert "test at iteration 16: accuracy" in said
    project.write_solver("baseline", 0, max_iter=8)
    path = project.root / "solvers/tiny/baseline/stage0.prototxt"
    path.write_text(path.read_text().replace('"fixed"', '"nonsense"'))
    said = project.run(0, "--variant", "baseline", "--force", code=1)
    assert "Unknown learning rate policy: nonsense" in said
