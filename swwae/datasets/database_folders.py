"""The folders of databases: each is complete under its own name, or is not there.

A database is made in `<name>.partial` and renamed at the end. It holds Caffe's LMDB
(`data.mdb`) and `info.json`, which says what is in there.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base.locks import Held, locked

INFO = "info.json"
DATABASE = "data.mdb"


def megabytes(count: int) -> str:
    """Returns a number of bytes for a person: `12 MB`, rounded up."""
    return f"{-(-count // 1_000_000)} MB"


def nearest_existing(path: Path) -> Path:
    """Returns `path` itself, or the first of its parents that exists."""
    candidates = (path, *path.absolute().parents)
    return next(folder for folder in candidates if os.path.exists(folder))


def check_output_folder(out: Path) -> None:
    """Raises UserError where no databases can be made in `out`, present or future."""
    folder = nearest_existing(out)
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give --out a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} is not writable: choose another folder with --out")


def make_output_folder(out: Path) -> None:
    """Makes the folder of the databases; raises UserError where that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from error


def free_bytes(folder: Path) -> int:
    """Returns how much the disk of `folder`, present or future, has free."""
    return shutil.disk_usage(nearest_existing(folder)).free


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Holds `folder` for one writer; raises UserError where another one holds it."""
    try:
        with locked(folder):
            yield
    except Held:
        raise UserError(
            f"another run is writing to {folder}: wait until it has ended"
        ) from None


def read_info(path: Path) -> dict[str, Any]:
    """Returns the info of a complete database; raises UserError where `path` is none.

    The size is compared, too: LMDB itself would die of a truncated file (SIGBUS).
    """
    if not os.path.lexists(path):
        raise UserError(f"there is no database {path}: make it first")
    try:
        info = json.loads((path / INFO).read_text(encoding="utf-8"))
        expected = info["bytes"]
        found = (path / DATABASE).stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a database made here (no fitting {INFO} and {DATABASE})"
        ) from error
    if found != expected:
        raise UserError(
            f"{path / DATABASE} is damaged: expected {expected} bytes, found {found}"
        )
    return info


def is_replaceable(path: Path) -> bool:
    """Tells whether `path` is free, or an LMDB folder (and not something of the
    user's)."""
    if not os.path.lexists(path):
        return True
    return os.path.isfile(path / DATABASE) and not path.is_symlink()


def check_replaceable(path: Path) -> None:
    """Raises UserError where something that is no database stands in the way."""
    if not is_replaceable(path):
        raise UserError(
            f"{path} exists and is not a database folder: move it away, or choose "
            "another folder with --out"
        )


def partial_of(path: Path) -> Path:
    """Returns the folder in which the database `path` is made."""
    return path.with_name(path.name + ".partial")


def put_in_place(path: Path) -> None:
    """Gives the complete `partial_of(path)` its name; what had that name goes."""
    if path.exists():
        path.rename(_old(path))
    partial_of(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


def restore_old(path: Path) -> None:
    """Undoes, or ends, a `put_in_place` that was interrupted."""
    if _old(path).exists() and not path.exists():
        _old(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


def clear_leftovers(path: Path) -> None:
    """Removes what an interrupted run left beside the database `path`."""
    restore_old(path)
    shutil.rmtree(partial_of(path), ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(path.name + ".old")
