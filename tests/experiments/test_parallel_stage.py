"""run_stage.sh 2 --parallel: the same weights as one training's, whatever happens."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from swwae.engine.log import read_log
from tests.helpers.stage_files import parameters
from tests.helpers.tiny_project import DEPTH, DeepProject

FAMILY = "swwae-layerwise"
PARTS = range(1, DEPTH + 1)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> DeepProject:
    """Stages 0 and 1 are done."""
    project = DeepProject(tmp_path_factory.mktemp("deep") / "project")
    for stage in (0, 1):
        project.run(stage, "--max-iter", 8) if stage == 0 else project.run(stage)
    return project


@pytest.fixture
def project(begun: DeepProject) -> DeepProject:
    """Stage 2 has not been begun, and its solver is as the generator made it."""
    solver = begun.stage_2.read_text()
    shutil.rmtree(begun.folder(FAMILY, 2), ignore_errors=True)
    yield begun
    begun.stage_2.write_text(solver)


def final(project: DeepProject) -> bytes:
    return (project.folder(FAMILY, 2) / "final.caffemodel").read_bytes()


def part_status(project: DeepProject, macro_layer: int) -> dict:
    return json.loads((project.part(macro_layer) / "status.json").read_text())


def test_weights_log_and_status_are_those_of_one_training(project):
    folder = project.folder(FAMILY, 2)
    project.run(2, "--max-iter", 9)
    one, log = final(project), read_log(folder / "train.log")
    status = project.status(FAMILY, 2)
    for option in (("--parallel",), ("--macro-layer", 1)):
        refused = project.run(2, "--max-iter", 10, *option, code=2)
        assert "was begun as a whole" in refused
    before = parameters(project.folder(FAMILY, 1) / "final.caffemodel")
    trained = parameters(folder / "final.caffemodel")
    for layer in ("dec:conv1", "dec:conv2"):
        assert not np.array_equal(trained[layer][0], before[layer][0])
    said = project.run(2, "--max-iter", 9, "--parallel", "--force")
    assert final(project) == one
    for number in PARTS:
        assert re.search(rf"^ +{number} +finished +9/9 ", said, re.MULTILINE), said
    merged = read_log(folder / "train.log")
    for series, others in ((merged.train, log.train), (merged.test, log.test)):
        assert list(series) == list(others)
        for name in series:
            np.testing.assert_array_equal(series[name], others[name])
    np.testing.assert_allclose(merged.loss, log.loss, rtol=1e-5)
    np.testing.assert_array_equal(merged.learning_rate, log.learning_rate)
    assert merged.weights == log.weights
    own = project.status(FAMILY, 2)
    assert own["parts"] == DEPTH and own["threads"] == 1
    same = ("state", "iterations", "max_iter", "seed", "weights_in", "weights_out")
    assert {k: own[k] for k in same} == {k: status[k] for k in same}
    # Stage 3 begins with it; run again, both say that they are finished.
    assert "is finished" in project.run(3, "--max-iter", 2)
    for options in (("--parallel", "2"), ()):
        assert "is finished, 9 iterations" in project.run(2, "--max-iter", 9, *options)
    standing = project.run(2, "--status")
    assert standing.count("finished, 9 iterations") == DEPTH


def test_a_part_has_what_its_decoder_needs(project):
    """Jobs elsewhere may train the parts; --parallel takes them up."""
    project.run(2, "--max-iter", 2, "--macro-layer", 1, "--seed", 3)
    left = parameters(project.part(1) / "final.caffemodel")
    assert set(left) == {"conv1", "dec:conv1"}
    said = project.run(2, "--max-iter", 2, code=2)
    assert "was begun in parts" in said and "--max-iter 2 --parallel" in said
    said = project.run(2, "--max-iter", 2, "--parallel", "--seed", 4, code=2)
    assert "macro-layer 1 is out of date" in said and "with the seed 3, not 4" in said
    before = part_status(project, 1)
    project.run(2, "--max-iter", 2, "--parallel")
    assert part_status(project, 1) == before
    assert part_status(project, 2)["seed"] == 3
    left = parameters(project.part(2) / "final.caffemodel")
    assert set(left) == {"conv1", "conv2", "dec:conv2"}
    # More iterations go on from where the parts are.
    project.run(2, "--max-iter", 4, "--parallel")
    assert part_status(project, 1)["resumed_from"] == [2]
    longer = final(project)
    # What its training has not left is not taken, and can be made again.
    weights = project.part(2) / "final.caffemodel"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    (project.folder(FAMILY, 2) / "final.caffemodel").unlink()
    said = project.run(2, "--max-iter", 4, "--parallel", code=1)
    assert "macro-layer-2/final.caffemodel is not what its training left" in said
    weights.unlink()
    project.run(2, "--max-iter", 4, "--parallel")
    assert final(project) == longer
    project.run(2, "--max-iter", 4, "--seed", 3, "--force")
    assert final(project) == longer


def test_interrupted_then_one_job_killed(project):
    """The others go on; run again, the missing one alone is trained, and resumed."""
    text = project.stage_2.read_text()
    text = re.sub(r"snapshot: \d+", "snapshot: 100", text)
    text = re.sub(r"test_interval: \d+", "test_interval: 100000", text)
    project.stage_2.write_text(text)
    options = ("--max-iter", 3000)
    project.run(2, *options)
    one = final(project)

    process = project.start(2, *options, "--parallel", "--force")
    wait_for_snapshot(project)
    caffe = caffe_of(project)
    os.kill(caffe, signal.SIGSTOP)  # it must not end before it is interrupted
    said = project.run(2, *options, "--macro-layer", 2, code=2)
    assert "is being run already" in said
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    os.kill(caffe, signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "go on with tools/run_stage.sh 2 --net deep --max-iter 3000" in said
    assert project.status(FAMILY, 2)["state"] == "interrupted"
    reached = part_status(project, 2)["iterations"]
    assert 100 <= reached < 3000

    process = project.start(2, *options, "--parallel")
    wait_for_snapshot(project, after=reached)
    os.kill(caffe_of(project), signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert re.search(r"^macro-layer 2 failed: .*caffe was killed", said, re.MULTILINE)
    assert f"1 of {DEPTH} jobs failed (macro-layer 2)" in said
    assert project.status(FAMILY, 2)["state"] == "failed"
    assert not (project.folder(FAMILY, 2) / "final.caffemodel").exists()
    ended = [part_status(project, number) for number in PARTS]
    assert [status["state"] for status in ended] == ["finished", "failed"]

    project.run(2, *options, "--parallel")
    assert final(project) == one
    assert part_status(project, 1) == ended[0]
    first, second = part_status(project, 2)["resumed_from"]
    assert first == reached < second


def wait_for_snapshot(project: DeepProject, after: int = 0) -> None:
    """Waits until macro-layer 2 has a snapshot of an iteration after that one."""
    end = time.monotonic() + 60
    while True:
        states = project.part(2).glob("*.solverstate")
        if any(int(path.stem.rpartition("_")[2]) > after for path in states):
            return
        assert time.monotonic() < end
        time.sleep(0.01)


def caffe_of(project: DeepProject) -> int:
    """The process that trains macro-layer 2."""
    pid = part_status(project, 2)["pid"]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (caffe,) = (
        child
        for child in children
        if b"\0train\0" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    return int(caffe)


def test_what_is_refused(project):
    """Each with a sentence; nothing is begun."""
    for words, sentence in (
        ((3, "--variant", "swwae-all", "--parallel"), "--parallel is for stage 2"),
        ((2, "--variant", "baseline", "--parallel"), "the baseline has none"),
        ((2, "--parallel", "0"), "'0' is no whole number from 1 on"),
        ((2, "--parallel", "2", "--macro-layer", "1"), "not allowed with argument"),
        ((2, "--macro-layer", "3"), "decoders of the macro-layers 1 to 2"),
        ((4, "--macro-layer", "1"), "--macro-layer 1 is of stage 2"),
    ):
        assert sentence in project.run(*words, code=2)
    classifier = project.folder("baseline", 0) / "final.caffemodel"
    said = project.run(2, "--parallel", "--weights", classifier, code=2)
    assert "layer dec:conv2 is not in the weights" in said
    with project.stage_2.open("a") as file:
        file.write("clip_gradients: 5\n")
    for option in (("--parallel",), ("--macro-layer", 1)):
        assert "clip_gradients looks at" in project.run(2, *option, code=2)
    assert not (project.folder(FAMILY, 2) / "status.json").exists()
    assert not (project.part(1) / "status.json").exists()
