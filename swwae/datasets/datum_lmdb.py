"""Writes labelled images as an LMDB of Caffe Datums, whole or not at all.

`write` makes a folder that Caffe's Data layer reads (`backend: LMDB`), with keys
`00000000`, `00000001`, … and one `Datum` each. `check` reads such a folder back.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from generator.errors import UserError
from swwae.base.files import write_json
from swwae.datasets.database_folders import (
    DATABASE,
    INFO,
    clear_leftovers,
    megabytes,
    partial_of,
    put_in_place,
    read_info,
)
from swwae.datasets.datum import Datum
from swwae.datasets.labelled_images import LabelledImages

BATCH = 1000
"""Images a transaction, as Caffe's own converters do."""

# LMDB's layout, to estimate a file's size: two nodes at least must fit a page, or the
# value goes to pages of its own.
PAGE = 4096
PAGE_HEADER = 16
NODE_HEADER = 8
SLOT = 2
KEY = 8
DATUM_FIELDS = 24
"""A Datum's bytes besides the pixels, at most."""


def write(
    path: Path,
    data: LabelledImages,
    details: dict[str, Any],
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Stores `data`, in its order, as the LMDB folder `path`; returns its info.

    details: join the info: how the data were prepared. `progress(done)` is called as
    images are stored. A folder that is already at `path` is replaced, once the new one
    is complete. Raises UserError where the disk is full.
    """
    return write_records(
        path,
        _records(data),
        _description(data) | details,
        database_bytes(len(data), data.shape),
        progress,
        "make room, or choose another folder with --out",
    )


def write_records(
    path: Path,
    records: Iterable[bytes],
    info: dict[str, Any],
    size: int,
    progress: Callable[[int], None],
    remedy: str,
) -> dict[str, Any]:
    """Stores serialised Datums, in their order, as the LMDB folder `path`.

    info: to which the SHA-256 of all records and the bytes of the file are added; it is
    returned then. size: bytes that the database takes at most, about. `progress(done)`
    is called with every thousand. remedy: ends the sentence of the UserError that is
    raised where the disk is full.
    """
    clear_leftovers(path)
    partial = partial_of(path)
    try:
        partial.mkdir(parents=True)
        digest = _fill(partial, records, 2 * size, progress)
        size_of_file = (partial / DATABASE).stat().st_size
        info = info | {"records_sha256": digest, "bytes": size_of_file}
        write_json(partial / INFO, info)
        put_in_place(path)
    except (lmdb.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be written ({error}): it takes {megabytes(size)}; {remedy}"
        ) from error
    finally:
        clear_leftovers(path)
    return info


def check(path: Path) -> dict[str, Any]:
    """Reads every record of the database `path` and compares it with its info.

    Returns the info. Raises UserError, naming the first thing that differs.
    """
    info = read_info(path)
    try:
        data, digest = _read_records(path)
        found = _description(data) | {"records_sha256": digest}
    except (lmdb.Error, DecodeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    for name, value in found.items():
        if info.get(name) != value:
            raise UserError(
                f"{path} is damaged: {name} is {value}, {INFO} says {info.get(name)}"
            )
    return info


def database_bytes(count: int, shape: tuple[int, int, int]) -> int:
    """Estimates, from above, the bytes of an LMDB of `count` images.

    shape: of each image: channels, height, width.
    """
    value = math.prod(shape) + DATUM_FIELDS
    node = NODE_HEADER + KEY + value + SLOT
    per_page = (PAGE - PAGE_HEADER) // node
    if per_page >= 2:
        pages = -(-count // per_page)
    else:
        pages = count * -(-(PAGE_HEADER + value) // PAGE)
    pages += count // 64  # branches, and leaves that only point
    return (pages + 64) * PAGE  # some are left free by the last transactions


def _records(data: LabelledImages) -> Iterator[bytes]:
    channels, height, width = data.shape
    datum = Datum(channels=channels, height=height, width=width)
    for image, label in zip(data.images, data.labels, strict=True):
        datum.data = image.tobytes()
        datum.label = int(label)
        yield datum.SerializeToString()


def _fill(
    folder: Path,
    records: Iterable[bytes],
    map_size: int,
    progress: Callable[[int], None],
) -> str:
    """Fills a new LMDB; returns the SHA-256 of all its values, in order."""
    digest = hashlib.sha256()
    numbered = enumerate(records)
    environment = lmdb.open(
        str(folder),
        map_size=map_size,
        mode=0o644,
        lock=False,  # nobody else knows this folder yet
        sync=False,  # once, at the end
    )
    with environment:
        while batch := list(islice(numbered, BATCH)):
            with environment.begin(write=True) as transaction:
                for index, value in batch:
                    transaction.put(b"%08d" % index, value, append=True)
                    digest.update(value)
            progress(batch[-1][0] + 1)
        environment.sync(True)
    return digest.hexdigest()


def _read_records(path: Path) -> tuple[LabelledImages, str]:
    """Everything in the database `path`, and the SHA-256 of its values, in order.

    Raises ValueError or DecodeError where a record is not as `write` makes them.
    """
    digest = hashlib.sha256()
    images, labels = [], []
    datum = Datum()
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            for index, (key, value) in enumerate(transaction.cursor()):
                if key != b"%08d" % index:
                    raise ValueError(f"expected key {index:08d}, found {key!r}")
                datum.ParseFromString(value)
                shape = datum.channels, datum.height, datum.width
                pixels = np.frombuffer(datum.data, np.uint8)
                images.append(pixels.reshape(shape))
                labels.append(datum.label)
                digest.update(value)
    if not images:
        raise ValueError("it holds no record")
    return LabelledImages(np.stack(images), np.array(labels), ()), digest.hexdigest()


def _description(data: LabelledImages) -> dict[str, Any]:
    """Returns what `check` compares: mean in pixel values of 0 to 255, for each
    channel."""
    return {
        "images": len(data),
        "shape": list(data.shape),
        "images_per_label": np.bincount(data.labels).tolist(),
        "mean": data.images.mean(axis=(0, 2, 3), dtype=np.float64).tolist(),
    }
