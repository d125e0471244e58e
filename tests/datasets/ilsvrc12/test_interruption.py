"""Cut short anywhere, the same command goes on and ends at the same database."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from swwae.datasets import encoded_state
from tests.helpers.ilsvrc12 import (
    MAX_SIDE,
    ROOT,
    SCRIPT,
    WNIDS,
    bad_files,
    photograph_size,
    read_back,
    training_set,
    write_source,
)

SMALL_COMMITS = 60_000


# The script as it is, but for commits that a small set has several of.
RUN = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
import shutil
from swwae.datasets import encoded_lmdb
encoded_lmdb.COMMIT_BYTES = {SMALL_COMMITS}
{{more}}
sys.argv = [{str(SCRIPT)!r}, *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(*arguments, more="", **options):
    """The script in a process of its own, with small commits."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(more=textwrap.dedent(more)), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def committed(out):
    state = encoded_state.partial_state(out / "train_lmdb")
    return state.done if state else 0


def wait_until_dead(process):
    """Its children, too: they hold its output open."""
    process.communicate(timeout=20)


# Each image takes a while, so that there is time to end it in the middle.
SLOWLY = """
import time
from swwae.datasets import jpegs
def slowly(*arguments, stored=jpegs.stored):
    time.sleep(0.01)
    return stored(*arguments)
jpegs.stored = slowly
"""


@pytest.fixture(scope="module")
def set_of_many(tmp_path_factory):
    """A tar of tars with some bad files, and the records that it should give."""
    folder = tmp_path_factory.mktemp("many")
    files = training_set(40)
    wnid = WNIDS[3]
    bad = {name: content for name, (content, _) in bad_files().items()}
    source = write_source(
        folder, "tar of tars", files | {f"{wnid}/{k}": v for k, v in bad.items()}
    )
    arguments = ["--train", str(source), "--max-side", str(MAX_SIDE)]
    process = start(*arguments, "--jobs", "1", "--out", str(folder / "out"))
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return arguments, outcome(folder / "out")


def outcome(out):
    """All that must not depend on how the database came about."""
    info = json.loads((out / "train_lmdb" / "info.json").read_text())
    del info["bytes"]  # LMDB's pages may lie otherwise
    digest = hashlib.sha256(repr(read_back(out / "train_lmdb")).encode()).hexdigest()
    return digest, info, (out / "train_skipped.txt").read_text()


def test_content_does_not_depend_on_jobs(set_of_many, tmp_path):
    arguments, expected = set_of_many
    process = start(*arguments, "--jobs", "3", "--out", str(tmp_path))
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_goes_on_after_any_end(set_of_many, tmp_path, how):
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "2", "--out", str(tmp_path)]
    done = 0
    for _ in range(2):
        process = start(*arguments, more=SLOWLY)
        while committed(tmp_path) <= done + 20:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=20)
        assert process.returncode == (-9 if how == signal.SIGKILL else 130)
        if how != signal.SIGKILL:
            assert "run the same command to go on" in stdout
            assert "interrupted" in stderr and "Traceback" not in stderr
        assert os.listdir(tmp_path) == ["train_lmdb.partial"]
        assert committed(tmp_path) > done
        done = committed(tmp_path)
    process = start(*arguments)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "goes on" in stdout
    assert "Looking through" not in stdout  # the tar's index is kept
    assert outcome(tmp_path) == expected
    assert sorted(os.listdir(tmp_path)) == ["train_lmdb", "train_skipped.txt"]


@pytest.mark.parametrize("call", range(4))
def test_goes_on_after_a_kill_at_the_end(set_of_many, tmp_path, call):
    """Killed at each step between the last record and the final name."""
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "1", "--out", str(tmp_path)]
    kill = f"""
    import os, signal
    from swwae.datasets import database_folders
    steps = []
    def killing(function):
        def call(*a, **k):
            steps.append(1)
            if len(steps) > {call}:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*a, **k)
        return call
    encoded_lmdb.whole_file = killing(encoded_lmdb.whole_file)
    encoded_lmdb.write_json = killing(encoded_lmdb.write_json)
    database_folders.put_in_place = killing(database_folders.put_in_place)
    """
    process = start(*arguments, more=kill)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "train_lmdb").exists()
    process = start(*arguments)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


def test_another_command_does_not_go_on(set_of_many, create, tmp_path):
    arguments, expected = set_of_many
    out = tmp_path / "out"
    process = start(*arguments, "--jobs", "1", "--out", str(out), more=SLOWLY)
    while not committed(out):
        time.sleep(0.02)
    error = create(*arguments, expect=2)
    assert "another run is writing" in error
    process.kill()
    wait_until_dead(process)
    done = committed(out)
    error = create(*arguments[:2], "--max-side", 32, expect=2)
    assert "max-side 64, asked for is 32: --force" in error
    assert committed(out) == done
    error = create(*arguments, "--strict", expect=2)
    assert "--strict" in error and committed(out) >= done
    create(*arguments[:2], "--max-side", 32, "--force")
    widths = {
        photograph_size(content)[0] for content, _ in read_back(out / "train_lmdb")
    }
    assert min(widths) == 32
    create(*arguments, "--force", jobs=2)
    assert outcome(out) == expected


def test_a_source_changed_meanwhile_is_told(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    process = start(
        "--train",
        str(source),
        "--out",
        str(tmp_path / "out"),
        more=f"""
        import pathlib
        from swwae.datasets import image_sources
        find = image_sources.Source.find
        def vanish(*a):
            found = find(*a)
            pathlib.Path({str(source / WNIDS[0] / (WNIDS[0] + "_0.JPEG"))!r}).unlink()
            return found
        image_sources.Source.find = vanish
        """,
    )
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert "changed or removed while it was read" in stderr
    assert not (tmp_path / "out" / "train_lmdb").exists()


def test_a_tar_that_was_moved_meanwhile_goes_on(set_of_many, tmp_path):
    arguments, expected = set_of_many
    out = ["--jobs", "1", "--out", str(tmp_path / "out")]
    (tmp_path / "first").mkdir()
    first = shutil.copy2(arguments[1], tmp_path / "first")
    process = start("--train", first, *arguments[2:], *out, more=SLOWLY)
    while not committed(tmp_path / "out"):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    wait_until_dead(process)
    (tmp_path / "first").rename(tmp_path / "second")
    moved = str(tmp_path / "second" / Path(first).name)
    process = start("--train", moved, *arguments[2:], *out)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "goes on" in stdout and "Looking through" not in stdout
    assert outcome(tmp_path / "out") == expected


def test_processes_that_cannot_be_started_are_told(set_of_many, tmp_path):
    arguments, _ = set_of_many
    more = """
    import os
    fork, forks = os.fork, []
    def second_fails():
        forks.append(1)
        if len(forks) > 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()
    os.fork = second_fails
    """
    process = start(*arguments, "--jobs", "2", "--out", str(tmp_path), more=more)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 2 and stderr.count("\n") == 1
    assert "Resource temporarily unavailable" in stderr and "fewer --jobs" in stderr


def test_a_full_disk_ends_cleanly_and_goes_on(set_of_many, tmp_path):
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "1", "--out", str(tmp_path)]
    limit = 400_000

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    process = start(*arguments, preexec_fn=small_files)
    _, stderr = process.communicate()
    assert process.returncode == 2 and "Traceback" not in stderr
    assert "more are needed" in stderr and "same command" in stderr
    assert os.listdir(tmp_path) == ["train_lmdb.partial"]
    assert 0 < committed(tmp_path) < 160
    process = start(*arguments)
    stdout, stderr = process.communicate()
    assert process.returncode == 0 and "goes on" in stdout, stderr
    assert outcome(tmp_path) == expected


def test_the_map_grows(set_of_many, tmp_path):
    arguments, expected = set_of_many
    more = """
    from swwae.datasets import encoded_state
    encoded_state.SMALLEST_MAP = 1 << 17
    encoded_lmdb.estimated_bytes = lambda *a: 0
    """
    process = start(*arguments, "--out", str(tmp_path), more=more)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


def test_too_small_a_disk_is_foreseen(create, monkeypatch, tmp_path):
    source = write_source(tmp_path / "s", "tar of tars", training_set())
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    error = create("--train", source, expect=2)
    assert "make room" in error and "1 MB free" in error
    assert os.listdir(tmp_path / "out") == []
