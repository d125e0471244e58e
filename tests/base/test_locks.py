"""Locks: one process at a time, and none that outlives its process."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from swwae.base.locks import Held, descriptors, is_locked, locked

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from swwae.base.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def holder(path, seconds=60):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(params=["file", "folder"])
def path(request, tmp_path):
    if request.param == "folder":
        return tmp_path
    (tmp_path / "lock").touch()
    return tmp_path / "lock"


def test_one_holds_it_at_a_time(path):
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)
        with pytest.raises(Held), locked(path):
            raise AssertionError("two hold it")
    assert not is_locked(path)
    with locked(path):
        pass


def test_what_is_raised_within_frees_it(path):
    with pytest.raises(ValueError, match="within"), locked(path):
        raise ValueError("within")
    assert not is_locked(path)


def test_a_killed_process_holds_nothing(path):
    with holder(path) as process:
        assert is_locked(path)
        with pytest.raises(Held), locked(path):
            raise AssertionError("two hold it")
        process.kill()
        process.wait()
        assert not is_locked(path)


def test_it_can_be_waited_for(path):
    with holder(path, seconds=0.5) as process:
        began = time.monotonic()
        with locked(path, wait=True):
            assert time.monotonic() - began > 0.2
            process.wait(timeout=30)


def test_a_program_that_is_started_does_not_hold_it(path):
    with locked(path):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert not is_locked(path)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_nothing_cannot_be_locked(tmp_path):
    assert not is_locked(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nothing"):
        raise AssertionError("it is not there")


def test_a_program_that_inherits_it_holds_it_on(path):
    with locked(path):
        sleeper = subprocess.Popen(["sleep", "60"], pass_fds=descriptors())
    assert descriptors() == ()
    try:
        assert is_locked(path)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert not is_locked(path)


def test_a_file_is_open_for_writing_as_nfs_wants_it(path):
    with locked(path):
        (descriptor,) = descriptors()
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        assert mode == (os.O_RDONLY if path.is_dir() else os.O_RDWR)


@pytest.mark.parametrize("wait", [True, False])
def test_what_was_removed_before_it_was_locked_is_not_held(path, wait, monkeypatch):
    """Or a second one could lock what stands there then."""
    flock, made_anew = fcntl.flock, []

    def too_late(descriptor: int, operation: int) -> None:
        if not made_anew:
            made_anew.append(path.rename(path.with_name("removed")))
            path.mkdir() if path.with_name("removed").is_dir() else path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    if wait:
        with locked(path, wait=True):
            assert is_locked(path)
    else:
        with pytest.raises(Held), locked(path):
            raise AssertionError("it is held under another name")
