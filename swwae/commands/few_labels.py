"""Makes the LMDBs of a data set of which few images have labels.

From DIR/train_lmdb: labelled<N>_seed<S>_lmdb, N images, of every class as many (one
more of some where N is no multiple), drawn and shuffled by the seed; and
unlabelled_lmdb, all training images in their order with the label -1.
`python -m generator NET --labels N` makes networks that are trained on both.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from generator.derived import UNLABELLED
from generator.errors import UserError
from generator.sequence import FewLabels
from generator.source import truncated
from swwae.base.arguments import at_least
from swwae.base.progress import Counter
from swwae.base.project import ROOT
from swwae.datasets import creating, datum_lmdb
from swwae.datasets.datum import Datum

TRAIN = "train_lmdb"


DEFAULT_FOLDER = ROOT / "data" / "fashion_mnist"


SLACK = 1.5
"""Room for LMDB's own pages besides the images', as a share of them."""


@dataclass(frozen=True)
class Source:
    """The training images. labels: int64 (images,), in the order of the keys.

    digest: SHA-256 of all records, in that order.
    """

    path: Path
    labels: np.ndarray
    digest: str

    @property
    def record(self) -> dict:
        """What tells one state of the database from another."""
        return {
            "source": self.path.name,
            "images": len(self.labels),
            "records_sha256": self.digest,
        }

    @property
    def bytes(self) -> int:
        """Of its file."""
        return (self.path / datum_lmdb.DATABASE).stat().st_size

    def values(self) -> Iterator[bytes]:
        """Every record, in the order of the keys."""
        with opened(self.path) as environment, environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=False)


def opened(path: Path) -> lmdb.Environment:
    """The LMDB, to read from; UserError where there is none."""
    if not (path / datum_lmdb.DATABASE).is_file():
        create = path.parent / "create.py"
        mend = f"make it with {create}" if create.is_file() else "give --data DIR"
        raise UserError(f"there are no training images in {path}: {mend}.")
    try:
        environment = lmdb.open(str(path), readonly=True, lock=False)
    except lmdb.Error as error:
        raise UserError(f"{path} cannot be read ({error}); make it again.") from None
    if truncated(environment, path):
        environment.close()
        raise UserError(f"{path} lacks its end; make it again.")
    return environment


def read(path: Path) -> Source:
    """Raises UserError where an entry is no Datum, or has no label."""
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
    return Source(path, np.array(labels), digest.hexdigest())


def drawn(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Places of `count` images, of every class as many, shuffled by `seed`.

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
    each, more = divmod(count, len(classes))
    lucky = np.argsort(stream.random_raw(len(classes)), kind="stable")[:more]
    chosen = []
    for place, label in enumerate(classes):
        own = order[labels[order] == label]
        wanted = each + (place in lucky)
        if len(own) < wanted:
            raise UserError(
                f"--labels {count}: class {label} has {len(own):,} images,"
                f" {wanted:,} are wanted."
            )
        chosen.append(own[:wanted])
    kept = set(np.concatenate(chosen).tolist())
    return [place for place in order.tolist() if place in kept]


def write(path: Path, values: Sequence[bytes] | Iterator[bytes], info: dict) -> None:
    """An LMDB of records, whole or not at all. info: stored beside it, with "images"
    and the "bytes" that they take."""
    datum_lmdb.clear_leftovers(path)
    partial = datum_lmdb.partial_of(path)
    done = Counter(info["images"], "images")
    try:
        partial.mkdir()
        environment = lmdb.open(
            str(partial), map_size=info["bytes"], lock=False, sync=False, mode=0o644
        )
        with environment:
            with environment.begin(write=True) as transaction:
                for index, value in enumerate(values):
                    transaction.put(b"%08d" % index, value, append=True)
                    done(index + 1)
            environment.sync(True)
        size = (partial / datum_lmdb.DATABASE).stat().st_size
        text = json.dumps(info | {"bytes": size}, indent=2)
        (partial / datum_lmdb.INFO).write_text(text + "\n", encoding="utf-8")
        datum_lmdb.put_in_place(path)
    except (lmdb.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be written ({error}): it takes"
            f" {datum_lmdb.megabytes(info['bytes'])}; make room."
        ) from error
    finally:
        datum_lmdb.clear_leftovers(path)


def relabelled(values: Iterator[bytes]) -> Iterator[bytes]:
    """The same images, without labels."""
    datum = Datum()
    for value in values:
        datum.ParseFromString(value)
        datum.label = UNLABELLED
        yield datum.SerializeToString()


def is_made(path: Path, made_from: dict, force: bool) -> bool:
    """Whether a database is there; UserError where it was made otherwise."""
    datum_lmdb.check_replaceable(path)
    if force or not path.exists():
        return False
    info = datum_lmdb.read_info(path)
    if info.get("made_from") != made_from:
        raise UserError(
            f"{path} was made from other training images than there are now: --force"
            " makes it anew."
        )
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"the folder of {TRAIN} (default: that of Fashion-MNIST)",
    )
    parser.add_argument("--labels", type=at_least(1), required=True, metavar="N")
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=1,
        metavar="N",
        help="by which the images with labels are drawn (default: %(default)s)",
    )
    parser.add_argument(
        "--force", action="store_true", help="make databases that exist anew"
    )
    options = parser.parse_args()
    folder = options.data
    few = FewLabels(options.labels, options.seed)
    source = read(folder / TRAIN)
    places = drawn(source.labels, options.labels, options.seed)
    creating.check_writable(folder)
    with datum_lmdb.only_writer(folder):
        for name, chosen in ((few.labelled, places), (few.unlabelled, None)):
            path = folder / name
            count = len(source.labels) if chosen is None else len(chosen)
            if is_made(path, source.record, options.force):
                print(f"{path} is there already")
                continue
            if chosen is None:
                values = relabelled(source.values())
            else:
                values = picked(source, chosen)
            share = count / len(source.labels)
            room = int(SLACK * share * source.bytes) + (1 << 20)
            if shutil.disk_usage(folder).free < room:
                raise UserError(
                    f"{path} takes {datum_lmdb.megabytes(room)}, more than {folder}"
                    " has free: make room."
                )
            info = {"images": count, "bytes": room, "made_from": source.record}
            if chosen is not None:
                info |= {"seed": options.seed}
            write(path, values, info)
            what = "without labels" if chosen is None else "with labels"
            print(f"{path}: {count:,} images {what}")


def picked(source: Source, places: list[int]) -> list[bytes]:
    """The records at the places, in that order."""
    wanted = set(places)
    found = {i: value for i, value in enumerate(source.values()) if i in wanted}
    return [found[place] for place in places]
