"""Reads IDX files, the format of MNIST and its relatives, and trusts none of them.

An IDX file is two zero bytes, a type code, the number of dimensions, each dimension
as a big-endian 32-bit integer, then the values, the last dimension varying fastest.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.datasets.labelled_images import LabelledImages, SourceFile

UNSIGNED_BYTE = 0x08

TYPE_NAMES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}

MAX_CHANNELS = 4

MAX_DIMENSIONS = 8
"""NumPy has no arrays of more than 64 (ours)."""

GZIP_MAGIC = b"\x1f\x8b"

SPLIT_PREFIXES = {"train": "train", "test": "t10k"}


def read_folder(folder: Path) -> dict[str, LabelledImages]:
    """Reads the four files of a data set in MNIST's layout: `train` and `test`.

    Each file may be plain or gzipped (`….gz`); `train-images.idx3-ubyte`, as some
    unpackers name it, is found too. Images have any size, the same in both sets;
    `…-images-idx4-ubyte` is count × channels × height × width.

    Raises UserError, one sentence, where a file is missing, damaged, not unsigned
    bytes or empty, and where the files do not belong together.
    """
    if not os.path.isdir(folder):
        raise UserError(
            f"{folder} is not a folder: give the one that holds "
            f"{_listed(_expected_names())} (plain or .gz)"
        )
    paths = {
        (split, kind): _find(folder, prefix, kind)
        for split, prefix in SPLIT_PREFIXES.items()
        for kind in ("images", "labels")
    }
    missing = [
        name for name, path in zip(_expected_names(), paths.values()) if path is None
    ]
    if missing:
        raise UserError(
            f"{folder} lacks {_listed(missing)}: it must hold "
            f"{_listed(_expected_names())} (plain or .gz)"
        )
    sets = {
        split: read_pair(paths[split, "images"], paths[split, "labels"])
        for split in SPLIT_PREFIXES
    }
    _check_sets_agree(sets["train"], sets["test"], folder)
    return sets


def read_pair(images_path: Path, labels_path: Path) -> LabelledImages:
    """Reads a file of images and the file of their labels.

    Raises UserError where either is unfit or their counts differ.
    """
    images, images_source = read(images_path)
    labels, labels_source = read(labels_path)
    if labels.ndim != 1:
        raise UserError(
            f"{labels_path}: expected labels in one dimension, found {_shape(labels)}"
        )
    if images.ndim == 3:
        images = images[:, np.newaxis]
    if images.ndim != 4:
        raise UserError(
            f"{images_path}: expected images as count × height × width or "
            f"count × channels × height × width, found {_shape(images)}"
        )
    if images.shape[1] > MAX_CHANNELS:
        raise UserError(
            f"{images_path}: expected at most {MAX_CHANNELS} channels, and before "
            f"height and width; found {_shape(images)}"
        )
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} holds {len(images)} images, {labels_path} "
            f"{len(labels)} labels: they do not belong together"
        )
    return LabelledImages(images, labels, (images_source, labels_source))


def read(path: Path) -> tuple[np.ndarray, SourceFile]:
    """Reads one file, plain or gzipped (told by its content, not by its name).

    Returns the uint8 array in the file's own shape, and where it came from. Raises
    UserError where the header is not IDX's, the type is not unsigned bytes, a
    dimension is 0, or the length is not what the header promises.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise UserError(
            f"{path} is not an IDX file: expected it to start with 00 00, a type and "
            f"a number of dimensions, found {content[:4].hex(' ') or 'nothing'}"
        )
    type_code, dimensions = content[2], content[3]
    if dimensions > MAX_DIMENSIONS:
        raise UserError(
            f"{path} is damaged: its header announces {dimensions} dimensions, of which"
            f" {MAX_DIMENSIONS} are read at most; fetch it again"
        )
    if type_code != UNSIGNED_BYTE:
        found = TYPE_NAMES.get(type_code, "an unknown type")
        raise UserError(
            f"{path}: expected unsigned bytes (type 08), found {found} "
            f"(type {type_code:02x})"
        )
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes:
        raise UserError(
            f"{path} is truncated: its header takes {header_bytes} bytes, the whole "
            f"file has {len(content)}; fetch it again"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header_bytes])
    promised, found = header_bytes + math.prod(shape), len(content)
    if found < promised:
        raise UserError(
            f"{path} is truncated: its header promises {promised} bytes, found "
            f"{found}; fetch it again"
        )
    if found > promised:
        raise UserError(
            f"{path} is damaged: its header promises {promised} bytes, found "
            f"{found - promised} more; fetch it again"
        )
    if 0 in shape:
        raise UserError(f"{path} is empty: its dimensions are {_times(shape)}")
    values = np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)
    return values, SourceFile(path.name, hashlib.sha256(content).hexdigest())


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{path} is a damaged gzip file ({error}); fetch it again"
        ) from error


def _names(prefix: str, kind: str) -> list[str]:
    ranks = (3, 4) if kind == "images" else (1,)
    return [
        f"{prefix}-{kind}{separator}idx{rank}-ubyte{suffix}"
        for rank in ranks
        for separator in "-."
        for suffix in ("", ".gz")
    ]


def _expected_names() -> list[str]:
    return [
        _names(prefix, kind)[0]
        for prefix in SPLIT_PREFIXES.values()
        for kind in ("images", "labels")
    ]


def _find(folder: Path, prefix: str, kind: str) -> Path | None:
    paths = (folder / name for name in _names(prefix, kind))
    return next((path for path in paths if os.path.isfile(path)), None)


def _check_sets_agree(
    train: LabelledImages, test: LabelledImages, folder: Path
) -> None:
    if train.shape != test.shape:
        raise UserError(
            f"{folder}: the training images are {_times(train.shape)}, the test "
            f"images {_times(test.shape)}: they do not belong together"
        )
    if test.classes > train.classes:
        raise UserError(
            f"{folder}: the test labels go up to {test.classes - 1}, the training "
            f"labels to {train.classes - 1}: they do not belong together"
        )


def _shape(array: np.ndarray) -> str:
    return _times(array.shape)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
