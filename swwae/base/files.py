"""Writes files whole or not at all, and says what is missing or in the way."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import getpid
from pathlib import Path
from typing import IO, Any

from generator.errors import UserError
from generator.text import json_text
from swwae.base.project import ROOT, relative


@contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Opens a file beside `path` to write to, that becomes it where all goes well.

    mode: "wb", or "w" for UTF-8 text. What stood at `path` stays if anything is raised
    within; a power failure leaves it or the new file. A link stays, and what it leads
    to is replaced; a device or a pipe is written to. Raises UserError, with the reason,
    where the file cannot be written; an OSError from within counts as that.
    """
    encoding = None if "b" in mode else "utf-8"
    try:
        if _is_stream(path):
            with path.open(mode, encoding=encoding) as file:
                yield file
            return
        place = Path(os.path.realpath(path))
        temporary = place.with_name(f".{place.name}.{getpid()}")
        try:
            with temporary.open(mode, encoding=encoding) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
            _keep_names(place.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        reason = error.strerror or error
        raise UserError(f"cannot write {shown}: {reason}.") from error


def _is_stream(path: Path) -> bool:
    """Tells whether something is at `path` that no file can take the place of."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _keep_names(folder: Path) -> None:
    """Has a folder's names on the disk, where its file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raises UserError where no file of that name can be written."""
    if _is_stream(path) and os.access(path, os.W_OK):
        return
    folder = path.absolute().parent
    if path.is_dir():
        raise UserError(f"{relative(path)} is a folder; name a file in it.")
    if not folder.is_dir():
        raise UserError(f"there is no folder {relative(folder)}: make it first.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{relative(folder)} cannot be written to; choose another.")


def require_file(path: Path, kind: str, command: str) -> None:
    """Raises UserError, naming the command that makes it, where there is no file."""
    if not path.is_file():
        raise UserError(f"the {kind} {relative(path)} is missing: run {command}")


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, UTF-8, whole or not at all.

    Raises UserError as `whole_file` does, and ValueError for numbers that are not
    finite, which JSON does not have.
    """
    text = json_text(value)
    # Names of files need not be UTF-8: their odd bytes, as Python has them, become
    # JSON's \udc80 to \udcff.
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
