"""The files of a data set, in a folder or in the tar that it is offered as.

Nothing of a tar is ever written under a name that it gives: what is read of it goes to
a temporary file without a name.
"""

import errno
import hashlib
import lzma
import mmap
import tarfile
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from generator.errors import UserError
from swwae.datasets.labelled_images import SourceFile

LARGEST = 1 << 33
"""Bytes of a file that is read; three times the largest of any set here."""

CHUNK = 1 << 20

DAMAGED = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)


@dataclass(frozen=True)
class Content:
    """A file's bytes, uint8 (n), which stay on the disk until they are looked at.

    path: as a person is told it.
    """

    path: str
    values: np.ndarray
    source: SourceFile


def read_files(
    source: Path, names: Collection[str], archive: str, scratch: Path
) -> dict[str, Content]:
    """Returns those of the files that are in `source`, by name.

    source: a folder with them, or with the folder that is in the tar; or a tar, as it
    is or compressed. archive: what the set is offered as, for sentences. scratch: a
    folder where a tar's content finds room. Raises UserError where `source` is neither,
    is damaged, or holds none of them.
    """
    if not source.exists():
        raise UserError(
            f"there is no {source}: give --source {archive}, or the folder that was"
            " unpacked from it"
        )
    found = (
        _in_folder(source, names)
        if source.is_dir()
        else _in_tar(source, names, archive, scratch)
    )
    if not found:
        raise UserError(
            f"{source} holds none of {', '.join(sorted(names))}: give --source"
            f" {archive}, or the folder that was unpacked from it"
        )
    return found


def require(found: Collection[str], names: Collection[str], source: Path) -> None:
    """Raises UserError where a file is missing."""
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"{source} lacks {', '.join(missing)}: fetch and unpack the set again"
        )


def check_count(
    content: Content, found: int, expected: int, any_number: bool = False
) -> None:
    """Raises UserError where a file holds another number of images than the set's.

    any_number: whether that is wanted so.
    """
    if found == 0 or (found != expected and not any_number):
        raise UserError(
            f"{content.path} holds {found:,} images, the set's has {expected:,}: fetch"
            " it again" + (", or give --subset where a part is meant" if found else "")
        )


def check_labels(path: str, labels: np.ndarray, first: int, classes: int) -> None:
    """Raises UserError where a label is not one of the set's, `first` on.

    path: of their file.
    """
    wrong = np.flatnonzero((labels < first) | (labels >= first + classes))
    if len(wrong):
        raise UserError(
            f"{path}: expected labels from {first} to {first + classes - 1}, image"
            f" {wrong[0]} has {labels[wrong[0]]}: the file is damaged, fetch it again"
        )


def class_names(content: Content | None, classes: int) -> list[str] | None:
    """Returns the names of a text file with one in each line; None without a file.

    Raises UserError where there are not as many as classes.
    """
    if content is None:
        return None
    text = content.values.tobytes().decode("utf-8", "replace")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return checked_names(content.path, names, classes)


def checked_names(path: str, names: list[str], classes: int) -> list[str]:
    """Returns the names; raises UserError where there are not as many as classes."""
    if len(names) != classes:
        raise UserError(
            f"{path}: expected the names of {classes} classes, found {len(names)};"
            " fetch it again"
        )
    return names


def _in_folder(folder: Path, names: Collection[str]) -> dict[str, Content]:
    found = {}
    try:
        places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        for name in names:
            paths = (place / name for place in places)
            path = next((path for path in paths if path.is_file()), None)
            if path is not None:
                with path.open("rb") as file:
                    found[name] = _content(str(path), name, file)
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"{where} cannot be read: {error.strerror}") from error
    return found


def _in_tar(
    path: Path, names: Collection[str], archive: str, scratch: Path
) -> dict[str, Content]:
    found = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name in names and name not in found and member.isreg():
                    with tempfile.TemporaryFile(dir=scratch) as file:
                        _copy(tar.extractfile(member), file, member.size)
                        found[name] = _content(f"{name} of {path}", name, file)
            while tar.fileobj.read(CHUNK):  # up to the checksum, where there is one
                pass
    except DAMAGED as error:
        reason = str(error).splitlines()[0].rstrip(":")  # tarfile says several
        raise UserError(
            f"{path} is truncated, damaged or no tar ({reason}): give --source"
            f" {archive}, or the folder that was unpacked from it"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(
                f"{scratch} has no room for what is in {path}: make room, or choose"
                " another folder with --out"
            ) from error
        reason = error.strerror or error  # of gzip: a checksum, say
        raise UserError(f"{path} cannot be read ({reason}): fetch it again") from error
    return found


def _copy(member: IO[bytes], file: IO[bytes], size: int) -> None:
    """Raises EOFError where the member is cut off."""
    copied = 0
    while some := member.read(CHUNK):
        copied += len(some)
        file.write(some)
    if copied != size:
        raise EOFError(f"{size - copied} bytes are missing")
    file.flush()


def _content(shown: str, name: str, file: IO[bytes]) -> Content:
    """Returns an open file's bytes; raises UserError for none, and for too many."""
    size = file.seek(0, 2)
    if size == 0:
        raise UserError(f"{shown} is empty: fetch it again")
    if size > LARGEST:
        raise UserError(
            f"{shown} has {size:,} bytes, at most {LARGEST:,} are expected: it is"
            " another file"
        )
    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    values = np.frombuffer(mapped, np.uint8)
    digest = hashlib.sha256(values).hexdigest()
    return Content(shown, values, SourceFile(name, digest))
