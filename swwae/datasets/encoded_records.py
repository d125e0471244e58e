"""Makes the records of a database of JPEGs, and judges them, on all cores.

A record is what Caffe's convert_imageset writes with --encoded: a Datum whose `data` (a
JPEG), `label` and `encoded` are set.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from swwae.datasets import jpegs
from swwae.datasets.datum import Datum
from swwae.datasets.encoded_state import open_database
from swwae.datasets.image_index import ImageIndex
from swwae.datasets.jpegs import UnfitImage
from swwae.datasets.workers import ordered_map

IMAGES_A_TASK = 8

MAX_FILE_BYTES = 256 << 20
"""Of an image: as many as the pixels of the largest that Pillow takes."""


@dataclass(frozen=True)
class Form:
    """How images are stored: see `jpegs.stored`; seed: of the shuffle."""

    max_side: int
    quality: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of one image: a record, or the reason why it is skipped.

    record: a serialised Datum. digest: its SHA-256. mean: BGR, 0 to 255.
    """

    place: int
    reason: str = ""
    record: bytes = b""
    label: int = 0
    digest: bytes = b""
    mean: tuple[float, float, float] = (0, 0, 0)
    changes: tuple[str, ...] = ()


def make_records(
    index: ImageIndex, order: np.ndarray, start: int, form: Form, jobs: int
) -> Iterator[list[Outcome]]:
    """Makes the records of the images at `order[start:]`, in that order.

    A few at a time are yielded, of `jobs` processes. To be closed where it is left
    before its end.
    """
    return ordered_map(
        _make_some,
        _tasks(start, len(index)),
        _useful_jobs(jobs, len(index) - start),
        _start_making,
        (index, order, form),
    )


def check_records(
    path: Path, count: int, form: Form, jobs: int
) -> Iterator[list[Outcome]]:
    """Decodes the first `count` records of the database `path`, in their order.

    Yields as `make_records` does, but no records; a reason says what is wrong.
    """
    return ordered_map(
        _check_some,
        _tasks(0, count),
        _useful_jobs(jobs, count),
        _start_checking,
        (path, form),
    )


def printable(name: str) -> str:
    """Returns a file's name in one line of UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _tasks(start: int, stop: int) -> Iterator[range]:
    """Places of a few images at a time."""
    for first in range(start, stop, IMAGES_A_TASK):
        yield range(first, min(first + IMAGES_A_TASK, stop))


def _useful_jobs(wanted: int, images: int) -> int:
    """No more processes than there are tasks."""
    return max(1, min(wanted, -(-images // IMAGES_A_TASK)))


_shared: tuple = ()
"""What a process gets when it starts, and works with."""


def _start_making(index: ImageIndex, order: np.ndarray, form: Form) -> None:
    global _shared
    _shared = index, order, form
    jpegs.be_quiet()


def _make_some(places: range) -> list[Outcome]:
    index, order, form = _shared
    return [_make(index, int(order[place]), form) for place in places]


def _make(index: ImageIndex, place: int, form: Form) -> Outcome:
    if (size := int(index.sizes[place])) > MAX_FILE_BYTES:
        reason = f"is too large ({size:,} bytes, at most {MAX_FILE_BYTES:,})"
        return Outcome(place, reason)
    try:
        content = index.read(place)
        name = index.name(place)
        jpeg = jpegs.stored(content, name, form.max_side, form.quality)
    except OSError as error:
        return Outcome(place, reason=f"cannot be read: {error.strerror}")
    except UnfitImage as error:
        return Outcome(place, reason=printable(str(error)))
    label = int(index.labels[place])
    record = Datum(data=jpeg.content, label=label, encoded=True).SerializeToString()
    digest = hashlib.sha256(record).digest()
    return Outcome(place, "", record, label, digest, jpeg.mean, jpeg.changes)


def _start_checking(path: Path, form: Form) -> None:
    global _shared
    _shared = open_database(path, readonly=True), form
    jpegs.be_quiet()


def _check_some(places: range) -> list[Outcome]:
    environment, form = _shared
    outcomes = []
    try:
        with environment.begin() as transaction:
            cursor = transaction.cursor()
            for place in places:
                value = cursor.get(b"%08d" % place)
                outcomes.append(_check(place, value, form))
    except lmdb.Error as error:
        outcomes.append(Outcome(places[len(outcomes)], f"cannot be read: {error}"))
    return outcomes


def _check(place: int, value: bytes | None, form: Form) -> Outcome:
    if value is None:
        return Outcome(place, "is missing")
    try:
        datum = Datum.FromString(value)
        size, mean = jpegs.mean_of(datum.data)
    except DecodeError:
        return Outcome(place, "is no Datum")
    except UnfitImage as error:
        return Outcome(place, printable(str(error)))
    if not datum.encoded:
        return Outcome(place, "is not marked as encoded")
    if 0 < form.max_side < min(size):
        pixels = f"{size[0]} × {size[1]}"
        expected = f"the shorter edge at most expected as {form.max_side}"
        return Outcome(place, f"has {pixels} pixels, {expected}")
    digest = hashlib.sha256(value).digest()
    return Outcome(place, "", b"", datum.label, digest, mean)
