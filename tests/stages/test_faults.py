"""What `caffe train` and a stage survive: signals, disks that are full for a moment,
damaged records, and databases that are cut short."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest

from generator import caffe_build
from swwae.stages import snapshots
from tests.helpers import killed
from tests.helpers.tiny_project import Project

FULL = "/dev/full"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vgg8's stage 0, not yet trained."""
    folder = tmp_path_factory.mktemp("prepared")
    killed.write_network(killed.networks("baseline")["train_val"], folder)
    killed.write_solver(folder, random_seed=7, iter_size=2)
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    killed.train(folder, "DNNL")
    return killed.left(folder)


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run").mkdir()
    return tmp_path


def go_on(folder: Path) -> subprocess.Popen:
    start = snapshots.solver_state(folder / "run", killed.newest(folder))
    return killed.start(folder, "DNNL", start)


def said(folder: Path) -> str:
    return (folder / "train.log").read_text()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_costs_nothing(folder, undisturbed, number):
    process = killed.start(folder, "DNNL", None)
    wait_until(lambda: "Iteration 3, lr" in said(folder))
    process.send_signal(number)
    assert process.wait(timeout=30) == 130, said(folder)
    done = killed.newest(folder)
    assert done < killed.ITERATIONS
    assert f"--snapshot goes on from iteration {done}." in said(folder)
    assert done
    assert go_on(folder).wait(timeout=60) == 0
    assert killed.left(folder) == undisturbed


# --- a disk that is full, a folder that has gone


def test_a_snapshot_that_finds_no_room_costs_itself_alone(folder, undisturbed):
    """In its second file, when the first one is on the disk."""
    missing = 2 * killed.SNAPSHOT
    unfinished = folder / "run" / f"snapshot_iter_{missing}.solverstate.part"
    unfinished.symlink_to(FULL)
    process = killed.start(folder, "DNNL", None)
    assert process.wait(timeout=60) == 0
    words = rf"Cannot write run/snapshot_iter_{missing}.solverstate: No space left on"
    assert re.search(words + r" device \(.* MB, and .* MB are free\)", said(folder))
    found = snapshots.iterations(folder / "run")
    assert missing not in found and missing - killed.SNAPSHOT in found
    assert killed.newest(folder) == killed.ITERATIONS
    assert not list((folder / "run").glob("*.part"))
    assert killed.left(folder) == undisturbed


def test_without_room_for_the_last_one_the_one_before_stays(folder, undisturbed):
    last = folder / "run" / f"snapshot_iter_{killed.ITERATIONS}.caffemodel.part"
    last.symlink_to(FULL)
    assert killed.start(folder, "DNNL", None).wait(timeout=60) == 1
    (end,) = re.findall("Training ends: (.+)", said(folder))
    assert end.startswith(
        f"the snapshot of iteration {killed.ITERATIONS} is not there. Cannot write run/"
    )
    assert killed.newest(folder) == killed.ITERATIONS - 1
    assert go_on(folder).wait(timeout=60) == 0
    assert killed.left(folder) == undisturbed


SMALL_DISK = """
mount -t tmpfs -o size="$1" none run
"$3" train --solver=solver.prototxt >train.log 2>&1 &
if [ "$2" = ro ]; then
  until [ -e run/snapshot_iter_2.solverstate ]; do sleep 0.001; done
  until mount -o remount,ro run; do sleep 0.001; done  # not while a file is written
fi
wait $!
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [("rw", "No space left on device"), ("ro", "Read-only file system")],
)
def test_a_real_disk(folder, options, words):
    """Full in the middle of the third snapshot's weights, or made read-only."""
    alone = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", folder]).returncode:
        pytest.skip("nothing may be mounted here")
    assert killed.start(folder, "DNNL", None).wait(timeout=60) == 0
    whole = sum(path.stat().st_size for path in (folder / "run").glob("*_iter_2.*"))
    size = 100 * whole if options == "ro" else whole * 9 // 4
    command = [*alone, "bash", "-c", SMALL_DISK, "bash", str(size), options]
    done = subprocess.run(
        [*command, killed.CAFFE],
        cwd=folder,
        env=caffe_build.environment(),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr + said(folder)
    (end,) = re.findall("Training ends: (.+)", said(folder))
    assert f": {words} (the snapshot takes {whole / 1e6:.1f} MB, and " in end
    assert f"Wrote the whole of run/snapshot_iter_{killed.SNAPSHOT}.so" in said(folder)


def test_a_stage_goes_on_without_a_snapshot(tmp_path):
    project = Project(tmp_path / "project")
    project.write_solver("baseline", 0, max_iter=10**7, snapshot=1000, display=1000)
    folder = project.folder("baseline", 0)
    process = project.start(0)
    wait_until(lambda: bool(list(folder.glob("*.solverstate"))))
    begun = max(snapshots.iterations(folder))
    for iteration in range(begun + 1000, begun + 30_000, 1000):
        name = f"snapshot_iter_{iteration}.caffemodel.part"
        with suppress(FileExistsError):
            (folder / name).symlink_to(FULL)
    wait_until(lambda: "Cannot write" in (folder / "train.log").read_text())
    wait_until(lambda: max(snapshots.iterations(folder)) >= begun + 30_000)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "warning: Cannot write runs/tiny/baseline/stage0/snapshot_iter_" in output
    assert project.status("baseline", 0)["iterations"] >= begun + 30_000


# --- data


def damage(folder: Path, records: dict[int, bytes]) -> None:
    with lmdb.open(str(folder), map_size=1 << 26) as environment:
        with environment.begin(write=True) as transaction:
            for number, content in records.items():
                assert transaction.put(b"%08d" % number, content)


def test_damaged_records_are_named_and_a_resumed_run_passes_over_them_alike(prepared):
    disturbed = prepared / "disturbed"
    undisturbed = prepared / "undisturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
        for name in ("net.prototxt", "solver.prototxt"):
            shutil.copyfile(prepared / name, folder / name)
        for path in prepared.glob("data*_lmdb"):
            shutil.copytree(path, folder / path.name)
        for path in folder.glob("data*_lmdb"):
            damage(path, {1: b"\xff\xff", 3: b"", 20: b"\x08\x01\x38\x01"})
    killed.train(undisturbed, "DNNL")
    text = said(undisturbed)
    assert "record 00000001 is no Datum; the image beside it" in text
    assert "record 00000003 has no pixels: 0 x 0 x 0" in text
    assert "record 00000020 says that it is encoded, but its 0 bytes" in text
    assert any(killed.train(disturbed, "DNNL", kills=3, seed=1))
    assert killed.left(disturbed) == killed.left(undisturbed)


@pytest.mark.parametrize("gone", [False, True])
def test_a_database_that_is_cut_short_while_it_trains(tmp_path, gone):
    project = Project(tmp_path / "project")
    project.write_solver("baseline", 0, max_iter=10**7, snapshot=0, display=1000)
    log = project.folder("baseline", 0) / "train.log"
    process = project.start(0)
    wait_until(lambda: log.exists() and "Iteration 1000" in log.read_text())
    file = project.root / "data" / "tiny" / "train_lmdb" / "data.mdb"
    os.truncate(file, 4096)
    if gone:
        file.unlink()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    sentence = output.splitlines()[-1]
    assert "data/tiny/train_lmdb" in sentence and "Go on with" in sentence
    if gone:
        assert "caffe died of SIGBUS, which comes of reading a file" in sentence


def test_a_missing_database_is_named_by_caffe_itself(folder):
    (database, *_) = folder.glob("data*_lmdb")
    shutil.rmtree(database)
    assert killed.start(folder, "DNNL", None).wait(timeout=60) != 0
    assert f"Cannot open the LMDB {database.name}: No such file" in said(folder)
