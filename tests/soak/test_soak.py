"""tools/soak.sh: faults are survived, and what is not exact is noticed."""

import json
import os
import subprocess
from random import Random

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from swwae.engine.log import SEPARATOR
from swwae.runs.run import Run
from swwae.soak import faults, ground
from swwae.soak.comparison import compare, differing_bits
from swwae.soak.faults import FAULTS, WORDS, left_out
from swwae.soak.session import Session, last_iteration, last_sentence
from swwae.stages import snapshots
from tests.helpers.tiny_project import Project

LINE = "I1128 01:02:03.000000 1 solver.cpp:1] Iteration {}, loss = 1.5\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("soak") / "project")


def soak(project, *arguments, code=0):
    """Returns what it says, and its JSON."""
    file = project.root / "soak.json"
    file.unlink(missing_ok=True)
    done = subprocess.run(
        [project.root / "tools" / "soak.sh", "--net", "tiny", "--variant", "baseline"]
        + ["--intervals", "2", "--json", str(file), *map(str, arguments)],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, json.loads(file.read_text()) if file.exists() else None


def test_faults_are_survived_without_a_differing_bit(project):
    table = project.root / "table.md"
    kinds = "kill-both,terminate,snapshot-truncated"
    said, found = soak(project, "--kinds", kinds, "--faults", 3, "--table", table)
    assert found["unmet"] is None and found["differing_bits"] == 0
    assert len(found["faults"]) == 3
    assert {file["stage"] for file in found["files"]} == {0, 1, 4}
    names = [file["name"] for file in found["files"] if file["stage"] == 4]
    assert names[0] == "final.caffemodel" and len(names) == 3
    assert all(file["bits"] > 1000 for file in found["files"])
    assert f"0 of {found['bits']:,} bits differ" in said
    for fault in found["faults"]:
        assert WORDS[fault["fault"]] in said
        assert WORDS[fault["fault"]] in table.read_text()
    assert not list((project.root / "runs" / "soak").glob("round*"))


def test_a_damaged_snapshot_that_is_taken_for_whole_is_noticed(tmp_path):
    """A Python that does not look at checksums goes on from what was flipped."""
    project = Project(tmp_path / "project")
    path = project.root / "swwae" / "stages" / "checksums.py"
    path.write_text(
        path.read_text() + "\n\ndef check(path):\n    return True\n",
    )
    said, found = soak(project, "--kinds", "snapshot-flipped", "--faults", 3, code=1)
    assert found["differing_bits"] > 0 or found["unmet"]
    assert "what was left is in runs/soak/round1" in said
    kept = project.root / "runs" / "soak" / "round1"
    assert (kept / "differing").is_dir() or (kept / "failed").is_dir()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hours", "0"], "'0' is no number of hours above 0"),
        (["--kinds", "flood"], "'flood' is none of kill-caffe, "),
        (["--net", "tini"], "tini"),
    ],
)
def test_what_cannot_be_asked_is_said(project, arguments, sentence):
    done = subprocess.run(
        [project.root / "tools" / "soak.sh", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and sentence in done.stderr
    assert done.stderr.splitlines()[-1].startswith("soak.sh: ")


def test_a_training_that_fails_undisturbed_is_no_soak(project, tmp_path):
    done = subprocess.run(
        [project.root / "tools" / "soak.sh", "--net", "tiny", "--variant", "baseline"]
        + ["--kinds", "terminate", "--out", tmp_path / "runs"],
        env=os.environ | {"CAFFE_GPU_MATH": "fp8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "fp8" in done.stderr


def test_every_fault_has_a_word_and_only_faults_are_left_out():
    assert WORDS.keys() == FAULTS.keys()
    assert left_out().keys() <= {"disk-full", "read-only", "no-network", "clock-back"}


# The comparison


def test_bits_that_differ_are_counted():
    assert differing_bits(b"\x00\xff", b"\x00\xff") == 0
    assert differing_bits(b"\x00\xff", b"\x01\x7f") == 2
    assert differing_bits(b"\x00", b"\x00\x00\x00") == 16
    assert differing_bits(b"\x00\x00", b"") == 16


def test_one_bit_of_the_history_and_none_of_the_path(tmp_path):
    runs = [Run("vgg8", "baseline", 0, root=tmp_path / name) for name in ("a", "b")]
    for run in runs:
        write_run(run)
    assert [file.differing for file in compare(*runs)] == [0, 0, 0]
    write_run(runs[1], history=np.nextafter(np.float32(1), np.float32(2)))
    assert [file.differing for file in compare(*runs)] == [0, 0, 1]
    runs[1].final_weights.unlink()
    bits = 8 * runs[0].final_weights.stat().st_size
    assert compare(*runs)[0].differing == bits


def write_run(run, history=1.0):
    run.folder.mkdir(parents=True, exist_ok=True)
    weights = caffe_pb2.NetParameter(name="net").SerializeToString()
    run.final_weights.write_bytes(weights)
    snapshots.weights_file(run.folder, 8).write_bytes(weights)
    state = caffe_pb2.SolverState(iter=8, learned_net=str(run.folder), current_step=0)
    state.history.add().data.append(history)
    path = snapshots.solver_state(run.folder, 8)
    path.write_bytes(state.SerializeToString())


# What a session is known by


def test_an_iteration_counts_for_the_session_whose_log_it_is_in(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    assert last_iteration(run) is None
    run.folder.mkdir(parents=True)
    run.log.write_text(f"{SEPARATOR}one\n{LINE.format(20)}{LINE.format(40)}")
    assert last_iteration(run) == last_iteration(run, own=True) == 40
    with run.log.open("a") as log:
        log.write(f"{SEPARATOR}two\n")
    assert last_iteration(run) == 40
    assert last_iteration(run, own=True) is None


@pytest.mark.parametrize(
    ("program", "word", "trains"),
    [("/bin/sleep", "5", False), ("/bin/sh", "train", True)],
)
def test_a_session_s_caffe_is_the_one_that_trains(tmp_path, program, word, trains):
    """Not the one that is asked for its version before."""
    (tmp_path / "caffe").symlink_to(program)
    (tmp_path / "train").write_text("sleep 5")
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    command = ["sh", "-c", f"cd {tmp_path}; {tmp_path}/caffe {word}; true"]
    session = Session(run, command, tmp_path / "said")
    try:
        session.wait(1.5)
        assert (session.caffe() is not None) == trains
    finally:
        session.close()


def test_the_last_sentence_is_an_error_where_there_is_one():
    assert last_sentence("run_stage.sh: the disk is full\nstage 0\n\n") == (
        "run_stage.sh: the disk is full"
    )
    assert (
        last_sentence("stage 0\nstopped at iteration 3\n") == "stopped at iteration 3"
    )
    assert last_sentence("") == ""


# Faults of the file system


IN_SMALL = """
import errno, sys
from pathlib import Path
from swwae.soak import faults, ground
folder = Path(sys.argv[1])
def refused(path, size):
    try:
        path.write_bytes(bytes(size))
    except OSError as error:
        return errno.errorcode[error.errno]
with ground.small_file_system(folder, 1 << 20):
    open_file = (folder / "open").open("w")
    with ground.filled(folder, 0):
        print(refused(folder / "a", 5000))
    print(refused(folder / "a", 5000))
    with ground.filled(folder, 100_000):
        print(refused(folder / "b", 50_000), refused(folder / "c", 500_000))
    with ground.read_only(folder):
        print(refused(folder / "d", 1))
        open_file.write("goes on")
        open_file.flush()
    print(refused(folder / "d", 1), sorted(p.name for p in folder.iterdir()))
print(list(folder.iterdir()))
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="it takes root to mount a file system",
)
def test_a_disk_is_full_or_read_only_and_then_is_not(tmp_path):
    done = subprocess.run(
        ["unshare", "--mount", ".venv/bin/python", "-c", IN_SMALL, tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "ENOSPC",
        "None",
        "None ENOSPC",
        "EROFS",
        "None ['a', 'b', 'c', 'd', 'open']",
        "[]",
    ], done.stderr


def test_without_leave_to_mount_nothing_is_mounted(monkeypatch):
    monkeypatch.setattr(ground, "_run", lambda *command: "not permitted")
    assert not ground.may_mount()
    assert {"disk-full", "read-only"} <= left_out().keys()


@pytest.mark.parametrize("kind", ["flip", "truncate", "clear"])
def test_a_damaged_file_is_another(kind, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    getattr(faults, f"_{kind}")(path, Random(1))
    found = path.read_bytes()
    assert found != bytes(range(100))
    assert len(found) == {"flip": 100, "clear": 0}.get(kind, len(found))
