"""Writes labelled images as an LMDB of Caffe Datums, whole or not at all.

`write` makes a folder that Caffe's Data layer reads (`backend: LMDB`), with keys
`00000000`, `00000001`, … and one `Datum` each. `check` reads such a folder back.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
    pairs = zip(data.images, map(int, data.labels), strict=True)
    return write_images(path, pairs, len(data), data.shape, details, progress)


def write_images(
    path: Path,
    pairs: Iterable[tuple[np.ndarray, int]],
    count: int,
    shape: tuple[int, int, int],
    details: dict[str, Any],
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Stores images as they come, with their labels; otherwise as `write` does.

    pairs: about `count` images, uint8 of `shape` (C, h, w), and their labels, -1 for
    none.
    """
    tally = Tally()

    def records() -> Iterator[bytes]:
        datum = Datum(channels=shape[0], height=shape[1], width=shape[2])
        for image, label in pairs:
            tally.add(image, label)
            datum.data = image.tobytes()
            datum.label = label
            yield datum.SerializeToString()

    return write_records(
        path,
        records(),
        lambda: tally.description() | details,
        database_bytes(count, shape),
        progress,
        "make room, or choose another folder with --out",
    )


@dataclass
class Tally:
    """What `check` compares, gathered as images come."""

    images: int = 0
    shape: tuple[int, ...] = ()
    sums: np.ndarray | int = 0  # of each channel
    labels: Counter[int] = field(default_factory=Counter)

    def add(self, image: np.ndarray, label: int) -> None:
        """Counts an image, uint8 (C, h, w); raises ValueError for one of another shape
        than those before."""
        if self.images and image.shape != self.shape:
            raise ValueError(
                f"record {self.images:08d} has the shape {image.shape}, those before"
                f" {self.shape}"
            )
        self.images += 1
        self.shape = image.shape
        self.sums = self.sums + image.sum(axis=(1, 2), dtype=np.int64)
        self.labels[label] += 1

    def description(self) -> dict[str, Any]:
        """Returns what info.json says of them; mean: of each channel, 0 to 255. Images
        without a label are in no count of a label."""
        most = max(self.labels, default=-1)
        return {
            "images": self.images,
            "shape": list(self.shape),
            "images_per_label": [self.labels[label] for label in range(most + 1)],
            "mean": (self.sums / (self.images * math.prod(self.shape[1:]))).tolist(),
        }


def write_records(
    path: Path,
    records: Iterable[bytes],
    info: Callable[[], dict[str, Any]],
    size: int,
    progress: Callable[[int], None],
    remedy: str,
) -> dict[str, Any]:
    """Stores serialised Datums, in their order, as the LMDB folder `path`.

    info: is called after the last record; the SHA-256 of all records and the bytes of
    the file are added to what it returns, and all of that is returned. size: bytes that
    the database takes at most, about. `progress(done)` is called with every thousand.
    remedy: ends the sentence of the UserError that is raised where the disk is full.
    """
    clear_leftovers(path)
    partial = partial_of(path)
    try:
        partial.mkdir(parents=True)
        digest = _fill(partial, records, 2 * size, progress)
        size_of_file = (partial / DATABASE).stat().st_size
        content = info() | {"records_sha256": digest, "bytes": size_of_file}
        write_json(partial / INFO, content)
        put_in_place(path)
    except (lmdb.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be written ({error}): it takes {megabytes(size)}; {remedy}"
        ) from error
    finally:
        clear_leftovers(path)
    return content


def check(path: Path) -> dict[str, Any]:
    """Reads every record of the database `path` and compares it with its info.

    Returns the info. Raises UserError, naming the first thing that differs.
    """
    info = read_info(path)
    try:
        found = _read_records(path)
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


def _read_records(path: Path) -> dict[str, Any]:
    """Returns what the info should say of the database `path`.

    Raises ValueError or DecodeError where a record is not as `write` makes them.
    """
    digest = hashlib.sha256()
    tally = Tally()
    datum = Datum()
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            for index, (key, value) in enumerate(transaction.cursor()):
                if key != b"%08d" % index:
                    raise ValueError(f"expected key {index:08d}, found {key!r}")
                datum.ParseFromString(value)
                shape = datum.channels, datum.height, datum.width
                pixels = np.frombuffer(datum.data, np.uint8)
                tally.add(pixels.reshape(shape), datum.label)
                digest.update(value)
    if not tally.images:
        raise ValueError("it holds no record")
    return tally.description() | {"records_sha256": digest.hexdigest()}
