"""Writes labelled images as an LMDB of Caffe Datums, whole or not at all.

`write` makes a folder that Caffe's Data layer reads (`backend: LMDB`): `data.mdb`,
with keys `00000000`, `00000001`, … and one `Datum` each, and `info.json`, which says
what is in there. It works in `<name>.partial` and renames at the end, so a folder
with the final name is complete. `check` reads such a folder back.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from generator.errors import UserError
from swwae.base.locks import Held, locked
from swwae.datasets.datum import Datum
from swwae.datasets.labelled_images import LabelledImages

INFO = "info.json"


DATABASE = "data.mdb"


BATCH = 1000  # images a transaction, as Caffe's own converters do


# LMDB's layout, to foretell a file's size: two nodes at least must fit a page, or
# the value goes to pages of its own.
PAGE = 4096


PAGE_HEADER = 16


NODE_HEADER = 8


SLOT = 2


KEY = 8


DATUM_FIELDS = 24  # a Datum's bytes besides the pixels, at most


Progress = Callable[[int, int], None]


def write(
    path: Path, data: LabelledImages, made_with: dict, progress: Progress
) -> dict:
    """Store `data`, in its order, as the LMDB folder `path`; return its info.

    `made_with` joins the info: how the data were prepared. `progress(done, total)` is
    called as images are stored. A folder that is already at `path` is replaced, once
    the new one is complete. Raises UserError where the disk is full.
    """
    partial = partial_of(path)
    clear_leftovers(path)
    try:
        partial.mkdir(parents=True)
        digest = _write_records(partial, data, progress)
        size = (partial / DATABASE).stat().st_size
        info = {**_describe(data, digest), "bytes": size, **made_with}
        (partial / INFO).write_text(json.dumps(info, indent=2) + "\n")
        put_in_place(path)
    except (lmdb.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be written ({error}): it takes "
            f"{megabytes(database_bytes(len(data), data.shape))}; make room, or choose "
            "another folder with --out"
        ) from error
    finally:
        clear_leftovers(path)
    return info


def read_info(path: Path) -> dict:
    """The info of a complete database; raises UserError where `path` is none.

    The size is compared too: LMDB itself would die of a truncated file (SIGBUS).
    """
    if not os.path.lexists(path):
        raise UserError(f"there is no database {path}: make it first")
    try:
        info = json.loads((path / INFO).read_text())
        promised = info["bytes"]
        found = (path / DATABASE).stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a database made here (no fitting {INFO} and {DATABASE})"
        ) from error
    if found != promised:
        raise UserError(
            f"{path / DATABASE} is damaged: expected {promised} bytes, found {found}"
        )
    return info


def check(path: Path) -> dict:
    """Read every record of the database `path` and compare with its info.

    Returns the info. Raises UserError, naming the first thing that differs.
    """
    info = read_info(path)
    try:
        found = _describe(*_read_records(path))
    except (lmdb.Error, DecodeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    for name, value in found.items():
        if info.get(name) != value:
            raise UserError(
                f"{path} is damaged: {name} is {value}, {INFO} says {info.get(name)}"
            )
    return info


def is_replaceable(path: Path) -> bool:
    """Whether `path` is free, or an LMDB folder (and not something of the user's)."""
    if not os.path.lexists(path):
        return True
    return os.path.isfile(path / DATABASE) and not path.is_symlink()


def database_bytes(count: int, shape: tuple[int, int, int]) -> int:
    """An estimate, from above, of the size of an LMDB of `count` images.

    `shape` is each image's: channels, height, width.
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


def megabytes(count: int) -> str:
    """A number of bytes for a person."""
    return f"{-(-count // 1_000_000)} MB"


def check_replaceable(path: Path) -> None:
    """Raise UserError where something that is no database stands in the way."""
    if not is_replaceable(path):
        raise UserError(
            f"{path} exists and is not a database folder: move it away, or choose "
            "another folder with --out"
        )


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writer; raises UserError where another one holds it."""
    try:
        with locked(folder):
            yield
    except Held:
        raise UserError(
            f"another run is writing to {folder}: wait until it has ended"
        ) from None


def clear_leftovers(path: Path) -> None:
    """Undo what an interrupted `write` to `path` left beside it."""
    restore_old(path)
    shutil.rmtree(partial_of(path), ignore_errors=True)


def partial_of(path: Path) -> Path:
    """The folder in which the database `path` is made."""
    return path.with_name(path.name + ".partial")


def put_in_place(path: Path) -> None:
    """Give the complete `partial_of(path)` its name; what had that name goes."""
    if path.exists():
        path.rename(_old(path))
    partial_of(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


def restore_old(path: Path) -> None:
    """Undo, or end, a `put_in_place` that was interrupted."""
    if _old(path).exists() and not path.exists():
        _old(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _write_records(folder: Path, data: LabelledImages, progress: Progress) -> str:
    """Fill a new LMDB; return the SHA-256 of all its values, in order."""
    digest = hashlib.sha256()
    channels, height, width = data.shape
    datum = Datum(channels=channels, height=height, width=width)
    environment = lmdb.open(
        str(folder),
        map_size=2 * database_bytes(len(data), data.shape),
        mode=0o644,
        lock=False,  # nobody else knows this folder yet
        sync=False,  # once, at the end
    )
    with environment:
        for start in range(0, len(data), BATCH):
            stop = min(start + BATCH, len(data))
            with environment.begin(write=True) as transaction:
                for index in range(start, stop):
                    datum.data = data.images[index].tobytes()
                    datum.label = int(data.labels[index])
                    value = datum.SerializeToString()
                    transaction.put(b"%08d" % index, value, append=True)
                    digest.update(value)
            progress(stop, len(data))
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


def _describe(data: LabelledImages, digest: str) -> dict:
    """What `check` compares: mean in pixel values of 0 to 255, for each channel."""
    return {
        "images": len(data),
        "shape": list(data.shape),
        "images_per_label": np.bincount(data.labels).tolist(),
        "mean": data.images.mean(axis=(0, 2, 3), dtype=np.float64).tolist(),
        "records_sha256": digest,
    }
