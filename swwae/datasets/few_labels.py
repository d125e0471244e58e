"""A data set of which few images have labels, as two databases that train together.

From train_lmdb come labelled<N>_seed<S>_lmdb, N images, of every class as many (one
more of some where N is no multiple), drawn and shuffled by the seed; and
unlabelled_lmdb, all training images in their order with the label -1, unless the set
has such a database of images without labels. The protocol is ours.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from generator.derived import UNLABELLED
from generator.errors import UserError
from generator.lmdb_pages import Damaged, check_pages
from generator.sequence import FewLabels
from swwae.base.progress import Counter
from swwae.base.project import ROOT
from swwae.datasets.database_folders import (
    DATABASE,
    check_output_folder,
    check_replaceable,
    free_bytes,
    megabytes,
    only_writer,
    read_info,
)
from swwae.datasets.datum import Datum
from swwae.datasets.datum_lmdb import write_records
from swwae.nets.databases import how_made

TRAIN = "train_lmdb"

DEFAULT_FOLDER = ROOT / "data" / "fashion_mnist"

SLACK = 1.5
"""Room for LMDB's own pages besides the images', as a share of them."""


@dataclass(frozen=True)
class TrainingImages:
    """The database of the training images.

    labels: int64 (images,), in the order of the keys. digest: SHA-256 of all records,
    in that order.
    """

    path: Path
    labels: np.ndarray
    digest: str

    @property
    def identity(self) -> dict[str, Any]:
        """What tells one state of the database from another."""
        return {
            "source": self.path.name,
            "images": len(self.labels),
            "records_sha256": self.digest,
        }

    @property
    def bytes(self) -> int:
        """Of its file."""
        return (self.path / DATABASE).stat().st_size

    def records(self) -> Iterator[bytes]:
        """Yields every record, in the order of the keys."""
        with opened(self.path) as environment, environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=False)

    def records_at(self, places: list[int]) -> list[bytes]:
        """Returns the records at the places, in that order."""
        wanted = set(places)
        found = {i: value for i, value in enumerate(self.records()) if i in wanted}
        return [found[place] for place in places]


def create(
    folder: Path, labels: int, seed: int, force: bool = False
) -> list[tuple[Path, dict[str, Any] | None]]:
    """Makes the two databases beside `folder`/train_lmdb; progress goes to stderr.

    labels: how many images keep theirs. seed: by which they are drawn. force: makes
    anew what exists. Returns their folders with their infos; None for one that existed.
    Raises UserError where there are not as many images, what exists was made otherwise,
    or the disk is too small.
    """
    names = FewLabels(labels, seed)
    source = read(folder / TRAIN)
    places = draw(source.labels, labels, seed)
    check_output_folder(folder)
    with only_writer(folder):
        return [
            _create_labelled(folder / names.labelled, source, places, seed, force),
            _create_unlabelled(folder / names.unlabelled, source, force),
        ]


def _create_labelled(
    path: Path, source: TrainingImages, places: list[int], seed: int, force: bool
) -> tuple[Path, dict[str, Any] | None]:
    if is_present(path, source.identity, force):
        return path, None
    records = source.records_at(places)
    return path, write(path, records, len(places), source, {"seed": seed})


def _create_unlabelled(
    path: Path, source: TrainingImages, force: bool
) -> tuple[Path, dict[str, Any] | None]:
    if is_the_sets_own(path) or is_present(path, source.identity, force):
        return path, None
    records = without_labels(source.records())
    return path, write(path, records, len(source.labels), source, {})


def opened(path: Path) -> lmdb.Environment:
    """Opens the LMDB `path` to read; raises UserError where there is none."""
    if not (path / DATABASE).is_file():
        create = how_made(path)
        remedy = f"make it with {create}" if create else "give --data DIR"
        raise UserError(f"there are no training images in {path}: {remedy}.")
    try:
        check_pages(path)
        return lmdb.open(str(path), readonly=True, lock=False)
    except Damaged as error:
        raise UserError(f"{path} {error}; make it again.") from None
    except lmdb.Error as error:
        raise UserError(f"{path} cannot be read ({error}); make it again.") from None


def read(path: Path) -> TrainingImages:
    """Reads the labels of a database.

    Raises UserError where an entry is no Datum, or has no label.
    """
    datum = Datum()
    labels = []
    digest = hashlib.sha256()
    try:
        with opened(path) as environment, environment.begin() as transaction:
            for value in transaction.cursor().iternext(keys=False):
                digest.update(value)
                datum.ParseFromString(value)
                labels.append(datum.label)
    except (DecodeError, lmdb.Error) as error:
        raise UserError(
            f"{path} is damaged after {len(labels):,} entries ({error}); make the"
            " database again."
        ) from None
    if not labels or min(labels) < 0:
        raise UserError(
            f"{path}: expected images with labels from 0 on, found"
            f" {'a label ' + str(min(labels)) if labels else 'no image'}."
        )
    return TrainingImages(path, np.array(labels), digest.hexdigest())


def draw(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Returns places of `count` images, of every class as many, shuffled by `seed`.

    One more is taken of as many classes as are needed, chosen by the seed, too. Raises
    UserError where a class has too few images, or is left without any.
    """
    # NumPy promises the stream of PCG64, and none of what it draws from it.
    stream = np.random.PCG64(seed)
    order = np.argsort(stream.random_raw(len(labels)), kind="stable")
    classes = np.unique(labels)
    if count < len(classes):
        raise UserError(
            f"--labels {count}: there are {len(classes)} classes, and each wants one."
        )
    per_class, rest = divmod(count, len(classes))
    with_one_more = np.argsort(stream.random_raw(len(classes)), kind="stable")[:rest]
    chosen = []
    for number, label in enumerate(classes):
        of_class = order[labels[order] == label]
        wanted = per_class + (number in with_one_more)
        if len(of_class) < wanted:
            raise UserError(
                f"--labels {count}: class {label} has {len(of_class):,} images,"
                f" {wanted:,} are wanted."
            )
        chosen.append(of_class[:wanted])
    kept = set(np.concatenate(chosen).tolist())
    return [place for place in order.tolist() if place in kept]


def without_labels(records: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the same images, labelled as Caffe's losses pass them over."""
    datum = Datum()
    for value in records:
        datum.ParseFromString(value)
        datum.label = UNLABELLED
        yield datum.SerializeToString()


def is_the_sets_own(path: Path) -> bool:
    """Tells whether a database is there of images that came without labels, as
    STL-10's do: it stays, also where others are forced."""
    if not path.is_dir():
        return False
    try:
        info = read_info(path)
    except UserError:
        return False
    return "made_from" not in info and info.get("images_per_label") == []


def is_present(path: Path, made_from: dict[str, Any], force: bool) -> bool:
    """Tells whether a database is there, and stays.

    made_from: the training images' identity. Raises UserError where it was made from
    others, or something else is in the way.
    """
    check_replaceable(path)
    if force or not path.exists():
        return False
    if read_info(path).get("made_from") != made_from:
        raise UserError(
            f"{path} was made from other training images than there are now: --force"
            " makes it anew."
        )
    return True


def write(
    path: Path,
    records: Iterable[bytes],
    count: int,
    source: TrainingImages,
    details: dict[str, Any],
) -> dict[str, Any]:
    """Writes `count` records as the database `path`; returns its info.

    details: join the info. Raises UserError where the disk is too small.
    """
    size = int(SLACK * count / len(source.labels) * source.bytes) + (1 << 20)
    if free_bytes(path.parent) < size:
        raise UserError(
            f"{path} takes {megabytes(size)}, more than {path.parent} has free: make"
            " room."
        )
    info = {"images": count, "made_from": source.identity, **details}
    progress = Counter(count, "images", sys.stderr)
    return write_records(path, records, lambda: info, size, progress, "make room.")
