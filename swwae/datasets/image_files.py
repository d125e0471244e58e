"""Files that may be images: their names, and what a folder holds of them."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generator.errors import UserError

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}

# ILSVRC's own names.
SYNSET = re.compile(r"n\d{8}")
SYNSET_TAR = re.compile(r"n\d{8}\.tar")
VALIDATION_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)

# Why a file is no image to store, in words that follow its name.
NOT_AN_IMAGE = f"is no image by its name ({', '.join(SUFFIXES)})"
NO_FILE = "is no file"
DUPLICATE = "is a duplicate name"


@dataclass(frozen=True)
class ImageFile:
    """size: bytes. time: of its last change, ns. fault: why it is unfit, or ""."""

    name: str
    size: int = 0
    time: int = 0
    fault: str = ""


def files_in(folder: Path, prefix: str = "") -> Iterator[ImageFile]:
    """Yields every file, in order, named as seen from the outermost folder.

    prefix: of the names. Hidden folders are passed over; links to folders are followed
    at the top only. Raises UserError where a folder cannot be read.
    """
    for entry in entries(folder):
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=not prefix):
            if not entry.name.startswith("."):
                yield from files_in(Path(entry.path), f"{name}/")
            continue
        try:
            status = entry.stat()
        except OSError as error:
            yield ImageFile(name, fault=f"cannot be read: {error.strerror}")
            continue
        fault = "" if entry.is_file() else NO_FILE
        yield ImageFile(name, status.st_size, status.st_mtime_ns, fault)


def listed_file(root: Path, name: str) -> ImageFile:
    """Returns the file that a list calls `name`, seen from `root`.

    A slash before the name may be the one behind `root`, as in Caffe, which puts the
    two together; a backslash may be Windows's.
    """
    if suffix(name) not in SUFFIXES:
        return ImageFile(name, fault=NOT_AN_IMAGE)
    other = name.replace("\\", "/").lstrip("/")
    if other != name and not (root / name).exists() and (root / other).exists():
        name = other
    try:
        status = (root / name).stat()
    except OSError as error:
        return ImageFile(name, fault=f"cannot be read: {error.strerror}")
    fault = "" if stat.S_ISREG(status.st_mode) else NO_FILE
    return ImageFile(name, status.st_size, status.st_mtime_ns, fault)


def entries(folder: Path) -> list[os.DirEntry]:
    """Returns what is in a folder, by name; raises UserError where that fails."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def synset_tars(folder: Path) -> list[Path]:
    """Returns the n########.tar of a folder, by name."""
    return [
        Path(entry.path)
        for entry in entries(folder)
        if SYNSET_TAR.fullmatch(entry.name)
    ]


def suffix(name: str) -> str:
    """Returns the name's suffix in lower case, with the dot."""
    return os.path.splitext(name)[1].lower()


def plain(name: str) -> str:
    """Returns a tar member's name without the `./` before it."""
    return name.removeprefix("./")
