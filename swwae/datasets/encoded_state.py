"""How far a database of JPEGs is, as the database itself holds it while it grows.

Each commit writes the state together with the records that it speaks of, so that a run
goes on exactly where the last one ended, however that came about.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lmdb

from swwae.datasets.database_folders import DATABASE, INFO, partial_of
from swwae.datasets.found_images import FoundImages, load

INDEX = "index.npz"
"""What was found in the source, beside a partial database."""

SMALLEST_MAP = 64 << 20

# Keys beside the records, all of which come after "!"; the last transaction removes
# them.
STATE = b"!state"
SKIPPED = b"!skipped%08d"


@dataclass
class State:
    """How far a database is. done: places in the shuffled order.

    sums: of the images' BGR means. digest: SHA-256 of the digest before the last
    record, then that record's own SHA-256. images_per_label: up to the last label.
    """

    made_from: dict
    done: int = 0
    records: int = 0
    skipped: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 3)
    digest: str = ""
    images_per_label: list[int] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)

    def add_record(self, label: int, digest: bytes, mean: tuple[float, ...]) -> None:
        self.records += 1
        self.sums = [
            total + value for total, value in zip(self.sums, mean, strict=True)
        ]
        self.digest = hashlib.sha256(bytes.fromhex(self.digest) + digest).hexdigest()
        missing = label + 1 - len(self.images_per_label)
        self.images_per_label += [0] * missing
        self.images_per_label[label] += 1

    def summary(self) -> dict[str, Any]:
        """Returns what `check` compares; the mean is that of the images' means, BGR."""
        return {
            "images": self.records,
            "images_per_label": self.images_per_label,
            "records_sha256": self.digest,
            "mean": [total / max(1, self.records) for total in self.sums],
        }


def open_database(
    folder: Path, map_size: int = 0, readonly: bool = False
) -> lmdb.Environment:
    """Opens the LMDB in `folder`; map_size: bytes, more than there are now at least.

    LMDB's locks are left out: a writer holds the outer folder, a reader's is complete.
    """
    database = folder / DATABASE
    size = database.stat().st_size if database.exists() else 0
    return lmdb.open(
        str(folder),
        map_size=max(map_size, size + SMALLEST_MAP),
        mode=0o644,
        lock=False,
        readonly=readonly,
    )


def read_skipped(environment: lmdb.Environment) -> Iterator[tuple[str, str]]:
    """Yields the names of skipped files, and why each is skipped."""
    with environment.begin() as transaction:
        cursor = transaction.cursor()
        there = cursor.set_range(SKIPPED % 0)
        while there and cursor.key().startswith(SKIPPED[:8]):
            yield tuple(json.loads(cursor.value()))
            there = cursor.next()


def write_commit(
    environment: lmdb.Environment,
    first: int,
    records: list[bytes],
    skipped: list[tuple[str, str]],
    state: State,
) -> None:
    """Writes records from number `first` on, the last skipped files, and the state.

    state: with all of them. Raises lmdb.MapFullError where the map is too small; then
    nothing is written.
    """
    with environment.begin(write=True) as transaction:
        for number, record in enumerate(records, first):
            transaction.put(b"%08d" % number, record, append=True)
        for number, pair in enumerate(skipped, state.skipped - len(skipped)):
            transaction.put(SKIPPED % number, json.dumps(pair).encode())
        transaction.put(STATE, json.dumps(asdict(state)).encode())


def remove_state(folder: Path) -> None:
    """Removes all but the records from the LMDB in `folder`."""
    with open_database(folder) as environment:
        with environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            while cursor.first() and cursor.key().startswith(b"!"):
                cursor.delete()
        environment.sync(True)


def partial_state(path: Path) -> State | None:
    """Returns how far an interrupted run has come with `path`; None: it has nothing."""
    partial = partial_of(path)
    if not (partial / DATABASE).is_file():
        return None
    try:
        if (partial / INFO).is_file():
            info = json.loads((partial / INFO).read_text(encoding="utf-8"))
            return State(
                info["made_from"],
                done=info["done"],
                records=info["images"],
                skipped=info["skipped"],
            )
        with open_database(partial) as environment:
            with environment.begin() as transaction:
                text = transaction.get(STATE)
        return State(**json.loads(text)) if text else None
    except (lmdb.Error, OSError, ValueError, KeyError, TypeError):
        return None


def partial_images(path: Path, archives: list[Path]) -> FoundImages | None:
    """Returns what an interrupted run found in its source; None: nothing was kept.

    archives: where the source's tars are now, in the order of the index's `files`.
    """
    index = partial_of(path) / INDEX
    try:
        return load(index).read_from(archives)
    except (OSError, ValueError, KeyError):
        index.unlink(missing_ok=True)
        return None
