"""How a stage ends early: killed, interrupted, diverged, or refused at once."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.stage_files import parameters
from tests.helpers.tiny_project import (
    EPOCH,
)

# --- run again


def test_killed_run_resumes_bit_for_bit(project):
    """Where snapshots do not fall on an epoch's end, too."""
    total = 1200 * EPOCH
    project.write_solver(
        "baseline", 0, max_iter=total, snapshot=100 * EPOCH + 1, display=100
    )
    folder = project.folder("baseline", 0)
    process = project.start(0)
    wait_until(lambda: len(list(folder.glob("*.solverstate"))) > 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    (caffe,) = children.split()
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{caffe}/exe").exists())
    assert not (folder / "final.caffemodel").exists()
    # a snapshot that was being written
    newest = max(folder.glob("*.solverstate"), key=iteration_of)
    done = iteration_of(newest)
    content = newest.read_bytes()
    torn = folder / f"snapshot_iter_{done + 1}.solverstate"
    torn.write_bytes(content[: len(content) // 2])
    said = project.run(0)
    assert f"snapshot {done + 1} is skipped" in said and torn.name in said
    assert f"snapshot of iteration {done:,}" in said
    assert project.status("baseline", 0)["resumed_from"] == [done]
    resumed = (folder / "final.caffemodel").read_bytes()
    project.run(0, "--force")
    assert resumed == (folder / "final.caffemodel").read_bytes()


def test_interrupted_run_saves_and_resumes(project):
    project.write_solver("baseline", 0, max_iter=10**7, snapshot=0, display=1000)
    folder = project.folder("baseline", 0)
    process = project.start(0)
    wait_until(lambda: "lr = " in read(folder / "train.log"))
    other = project.run(0, code=2)
    assert "is being run already" in other and "train.log" in other
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "go on with tools/run_stage.sh 0 --net tiny" in output
    status = project.status("baseline", 0)
    assert status["state"] == "interrupted"
    done = status["iterations"]
    assert (folder / f"snapshot_iter_{done}.solverstate").exists()
    said = project.run(0, "--max-iter", done + 3)
    assert f"snapshot of iteration {done:,}" in said
    assert project.status("baseline", 0)["state"] == "finished"
    assert read(folder / "train.log").count("==== ") == 2
    assert len(list(folder.glob("*.solverstate"))) == 1


def wait_until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def iteration_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


# --- what goes wrong


def test_loss_that_is_not_finite_stops_the_run(project):
    project.write_solver(
        "baseline", 0, base_lr=1e30, max_iter=10**6, display=1, snapshot=1
    )
    said = project.run(0, code=1)
    assert "the loss loss is" in said or "the weights of layer" in said
    assert "base_lr (1e+30)" in said
    status = project.status("baseline", 0)
    assert status["state"] == "failed"
    assert "at iteration" in status["fault"]
    for path in project.folder("baseline", 0).glob("*.caffemodel"):
        for blobs in parameters(path).values():
            assert all(np.isfinite(blob).all() for blob in blobs)


def test_what_is_not_finite_first_is_named_without_a_display(project):
    project.write_solver(
        "baseline", 0, base_lr=1e30, max_iter=10**6, display=10**5, snapshot=10**5
    )
    said = project.run(0, code=1)
    found = re.search(r"the loss loss is -?(nan|inf) at iteration (\d+)\. First", said)
    assert found and int(found[2]) < 10, said
    assert re.search(r"First of all, (the weights of layer|what layer) \w+", said)
    assert not list(project.folder("baseline", 0).glob("*.caffemodel"))


def test_weights_that_are_not_finite_are_not_handed_on(project):
    """No loss tells: the last update spoils them, and the last display is before it."""
    project.write_solver("baseline", 0, max_iter=23, snapshot=0)
    solver = project.root / "solvers" / "tiny" / "baseline" / "stage0.prototxt"
    text = solver.read_text().replace('"fixed"', '"multistep" stepvalue: 22 gamma: inf')
    solver.write_text(text.replace("test_interval: 23", "test_interval: 1000"))
    said = project.run(0, code=1)
    assert "the weights of layer conv1 are no longer finite after iteration 23" in said
    assert "base_lr (0.01)" in said
    folder = project.folder("baseline", 0)
    assert project.status("baseline", 0)["state"] == "failed"
    assert not list(folder.glob("*.caffemodel"))


def test_a_short_run_displays_the_loss_that_is_not_finite(project):
    project.write_solver("baseline", 0, base_lr=1e30, max_iter=15, display=100)
    said = project.run(0, code=1)
    assert re.search(r"loss is -?(nan|inf) at iteration [1-5]\.", said), said


def test_missing_prerequisites_name_their_commands(project):
    said = project.run(4, "--variant", "swwae-all", code=2)
    commands = [line.strip() for line in said.splitlines()[1:-1]]
    assert commands == [
        "tools/run_stage.sh 0 --net tiny --variant baseline",
        "tools/run_stage.sh 1 --net tiny --variant swwae-layerwise",
        "tools/run_stage.sh 2 --net tiny --variant swwae-layerwise",
        "tools/run_stage.sh 3 --net tiny --variant swwae-all",
    ]
    shutil.rmtree(project.root / "data" / "tiny" / "test_lmdb")
    (project.root / "data" / "tiny" / "create.py").touch()
    said = project.run(0, code=2)
    assert "data/tiny/test_lmdb" in said and "run data/tiny/create.py" in said
    (project.root / "models" / "tiny" / "baseline" / "train_val.prototxt").unlink()
    said = project.run(0, code=2)
    assert "-m generator tiny --variant baseline" in said


def test_a_reader_that_goes_away_costs_no_progress(project):
    """Ctrl-C in `run_stage.sh … 2>&1 | tee`: tee dies of it first."""
    project.write_solver("baseline", 0, max_iter=10**7, snapshot=0, display=1000)
    folder = project.folder("baseline", 0)
    process = project.start(0)
    wait_until(lambda: "lr = " in read(folder / "train.log"))
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 141
    status = project.status("baseline", 0)
    assert status["state"] == "interrupted" and status["iterations"] > 0
    done = status["iterations"]
    assert (folder / f"snapshot_iter_{done}.solverstate").exists()


def test_gpu_of_a_build_without(project):
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("this machine has a GPU")
    assert "leave --gpu out" in project.run(0, "--gpu", "0", code=2)


def exchanged(path, folder):
    path.unlink(missing_ok=True)
    try:
        folder.rename(path)
    except OSError:  # the file has been written again
        return False
    return True


def test_a_status_that_cannot_be_written_meanwhile_costs_no_training(project):
    project.write_solver("baseline", 0, max_iter=10**7, snapshot=50, display=1000)
    folder = project.folder("baseline", 0)
    process = project.start(0)
    wait_until(lambda: list(folder.glob("*.solverstate")))
    (folder / "instead").mkdir()
    status = folder / "status.json"
    wait_until(lambda: exchanged(status, folder / "instead"))  # no file takes its place

    def newest() -> int:
        return max(map(iteration_of, folder.glob("*.solverstate")), default=0)

    later = newest() + 3 * 50
    wait_until(lambda: newest() >= later)
    assert process.poll() is None
    (folder / "status.json").rmdir()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert project.status("baseline", 0)["state"] == "interrupted"


def test_network_that_caffe_refuses(project):
    path = project.root / "models" / "tiny" / "baseline" / "train_val.prototxt"
    text = path.read_text()
    path.write_text(text.replace('bottom: "conv1/pool"', 'bottom: "nowhere"'))
    said = project.run(0, code=2)
    assert "Caffe refuses" in said and "Unknown bottom blob 'nowhere'" in said
    path.write_text(text + "layer { nmae: 1 }")
    said = project.run(0, code=2)
    assert "is no Caffe network file" in said and "nmae" in said
    assert not list(project.folder("baseline", 0).glob("*.caffemodel"))
