"""Writes files whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from typing import IO, Any

from runtime import ROOT, UserError


@contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file beside `path` to write to, that becomes it where all goes well.

    mode: "wb", or "w" for UTF-8 text. What stood at `path` stays if anything is raised
    within. Raises UserError, with the reason, where the file cannot be written; an
    OSError from within counts as that.
    """
    encoding = None if "b" in mode else "utf-8"
    temporary = path.with_name(f".{path.name}.{getpid()}")
    try:
        try:
            with temporary.open(mode, encoding=encoding) as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        reason = error.strerror or error
        raise UserError(f"cannot write {shown}: {reason}.") from error
