"""Whether a database of images is whole, and which labels it has."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import datums
from .lmdb_pages import Damaged, LmdbFile, Value

EVERY = 1000
"""Images between two reports of progress."""

Ranges = tuple[tuple[int, int], ...]
"""Whole numbers, ascending: the first and the last of each unbroken run."""


@dataclass(frozen=True)
class Survey:
    """What was found in a database. labels: that occur in it."""

    images: int
    labels: Ranges


def survey(
    folder: Path,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> Survey:
    """Looks at every image's Datum, and at the pages that lead there, in an LMDB.

    Pixels that have pages of their own are passed over: of such an image two places are
    read, a few bytes each. progress: is given the number of images, and returns what is
    called with how many are done, last with all. Raises Damaged with the first thing
    that is wrong, an empty database included.
    """
    found: set[int] = set()
    with LmdbFile(folder) as database:
        if not database.entries:
            raise Damaged("is empty: it holds no image")
        report = progress(database.entries)
        try:
            for place, (key, value) in enumerate(database.items(), 1):
                found.add(_label(database, key, value))
                if not place % EVERY:
                    report(place)
        finally:
            report(database.entries)
        return Survey(database.entries, ranges(found))


def _label(database: LmdbFile, key: bytes, value: Value) -> int:
    try:
        return datums.label(value.size, partial(database.read, value))
    except datums.NoImage as error:
        name = ascii(key.decode("utf-8", "replace"))[1:-1]
        raise Damaged(f"is damaged: entry {name} {error}") from None


def ranges(numbers: Iterable[int]) -> Ranges:
    """Returns whole numbers as their unbroken runs."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return tuple(runs)
