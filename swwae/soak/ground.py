"""Where disturbed runs are written: a small file system that may be full or read-only.

Mounting takes root, or a user namespace, as tools/soak.sh makes one.
"""

import errno
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.errors import UserError

CHUNK = 1 << 20


def may_mount() -> bool:
    """Returns whether this process may mount file systems."""
    with tempfile.TemporaryDirectory() as folder:
        if _run("mount", "-t", "tmpfs", "soak", folder):
            return False
        _unmount(Path(folder))
    return True


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[None]:
    """Makes a folder a file system of its own, in memory, while this lasts.

    size: bytes. Raises UserError where it cannot be mounted.
    """
    _mount("-t", "tmpfs", "-o", f"size={size}", "soak", str(folder))
    try:
        yield
    finally:
        _unmount(folder)


@contextmanager
def filled(folder: Path, left: int) -> Iterator[None]:
    """Fills a folder's file system with zeros while this lasts. left: bytes that stay
    free, about."""
    path = folder / ".filled"
    try:
        with path.open("wb", buffering=0) as file:
            for chunk in (bytes(CHUNK), b"\0"):
                _write_until_full(file, chunk)
            file.truncate(max(0, file.tell() - left))
        yield
    finally:
        path.unlink(missing_ok=True)


def _write_until_full(file, chunk: bytes) -> None:
    try:
        while file.write(chunk):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes a folder read-only for whoever opens a file there while this lasts; files
    that are open already can be written to."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        _unmount(folder)


def _mount(*arguments: str) -> None:
    if reason := _run("mount", *arguments):
        raise UserError(f"{arguments[-1]} cannot be mounted: {reason}.")


def _unmount(folder: Path) -> None:
    """Lazily: a process that is about to end may still have files open there."""
    _run("umount", "--lazy", str(folder))


def _run(*command: str) -> str | None:
    """Returns why a command failed; None where it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"{command[0]} ended with exit code {done.returncode}"
