"""Whether a database of images is whole; its labels, and its kinds of images."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path

from . import datums
from .lmdb_pages import Damaged, LmdbFile, Value

EVERY = 1000
"""Images between two reports of progress."""

Ranges = tuple[tuple[int, int], ...]
"""Whole numbers, ascending: the first and the last of each unbroken run."""


@dataclass(frozen=True)
class Kind:
    """Images of a database that Caffe reads alike.

    coding: bytes, floats or picture (an encoded one). channels: 0 where they are not
    known, as the sizes then are. bits: of a value. least, most: of height and width.
    images: how many. entry: of the first one.
    """

    coding: str
    channels: int
    bits: int
    least: tuple[int, int]
    most: tuple[int, int]
    images: int
    entry: str


@dataclass(frozen=True)
class Survey:
    """What was found in a database. labels: that occur in it; kinds: of images."""

    images: int
    labels: Ranges
    kinds: tuple[Kind, ...] = ()


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
    labels: set[int] = set()
    kinds: dict[tuple, list] = {}
    with LmdbFile(folder) as database:
        if not database.entries:
            raise Damaged("is empty: it holds no image")
        report = progress(database.entries)
        try:
            for place, (key, value) in enumerate(database.items(), 1):
                found = _scanned(database, key, value)
                labels.add(found.label)
                _count(kinds, found, key)
                if not place % EVERY:
                    report(place)
        finally:
            report(database.entries)
        every = tuple(starmap(_kind, kinds.items()))
        return Survey(database.entries, ranges(labels), every)


def _scanned(database: LmdbFile, key: bytes, value: Value) -> datums.Scanned:
    try:
        return datums.scanned(value.size, partial(database.read, value))
    except datums.NoImage as error:
        raise Damaged(f"is damaged: entry {_name(key)} {error}") from None


def _count(kinds: dict[tuple, list], found: datums.Scanned, key: bytes) -> None:
    """Adds an image to those of its kind: the least and most of their heights and
    widths, how many they are, and the first one's name."""
    height, width = found.height, found.width
    kind = kinds.get(alike := (found.coding, found.channels, found.bits))
    if kind is None:
        kinds[alike] = [height, width, height, width, 1, _name(key)]
        return
    if (height, width) != (kind[0], kind[1]) or (height, width) != (kind[2], kind[3]):
        kind[0], kind[1] = min(kind[0], height), min(kind[1], width)
        kind[2], kind[3] = max(kind[2], height), max(kind[3], width)
    kind[4] += 1


def _kind(alike: tuple, found: list) -> Kind:
    return Kind(*alike, tuple(found[:2]), tuple(found[2:4]), *found[4:])


def _name(key: bytes) -> str:
    return ascii(key.decode("utf-8", "replace"))[1:-1]


def ranges(numbers: Iterable[int]) -> Ranges:
    """Returns whole numbers as their unbroken runs."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return tuple(runs)
