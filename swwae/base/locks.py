"""Locks that end with the process that holds them, however it ends (flock).

A file's lock holds among the machines that share its file system by NFS, too; a
folder's among the processes of one machine alone (flock(2)).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep


class Held(Exception):
    """Another process, or another part of this one, holds what was to be locked."""


LOOKS, PAUSE = 5, 0.01
"""How often to look again, after so many seconds: `is_locked` holds it for a moment."""

_descriptors: list[int] = []


def descriptors() -> tuple[int, ...]:
    """Returns the open descriptors of all locks that this process holds.

    A program that inherits them holds the locks until it has ended, too.
    """
    return tuple(_descriptors)


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Holds a file or folder, which must exist, for one process alone.

    wait: until nobody else holds it; otherwise Held is raised where somebody does, or
    did until this moment and has removed it. Raises OSError where it cannot be opened.
    """
    descriptor = _opened(path)
    try:
        while not _is_taken(descriptor, path, wait):
            if not wait:
                raise Held(path)
            again = _opened(path)
            os.close(descriptor)
            descriptor = again
        _descriptors.append(descriptor)
        try:
            yield
        finally:
            _descriptors.remove(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    # NFS gives an exclusive lock only for a file that is open for writing.
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR
    return os.open(path, mode | os.O_CLOEXEC)


def _is_taken(descriptor: int, path: Path, wait: bool) -> bool:
    """Takes a lock, and returns whether that is the one of what is at `path` now."""
    for look in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return os.path.samestat(os.fstat(descriptor), os.stat(path))
        except FileNotFoundError:
            return False
        except BlockingIOError:
            if look < LOOKS - 1:
                sleep(PAUSE)
    return False


def is_locked(path: Path) -> bool:
    """Returns whether a file or folder is held now; False where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
