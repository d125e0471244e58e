"""Writes indexed images as an LMDB of JPEGs that Caffe's Data layer decodes.

The records are what Caffe's convert_imageset writes with --encoded: a Datum's `data`
(a JPEG), `label` and `encoded`; the keys are `00000000`, `00000001`, … The database
grows in `<name>.partial`, which holds with every commit how far it is and what it is
made from, so that `write` goes on with it whenever it was ended.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import (
    asdict,
    dataclass,
    field,
    replace,
)
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.datasets import datum_lmdb, jpegs
from swwae.datasets.datum import Datum
from swwae.datasets.datum_lmdb import (
    DATABASE,
    INFO,
    PAGE,
    megabytes,
)
from swwae.datasets.image_index import ImageIndex
from swwae.datasets.image_sources import Found, load, save
from swwae.datasets.jpegs import UnfitImage
from swwae.datasets.labelled_images import shuffled_order
from swwae.datasets.workers import ordered_map

INDEX = "index.npz"


COMMIT_BYTES = 16 << 20  # at most so much is done twice after a kill


IMAGES_A_TASK = 8


SMALLEST_MAP = 64 << 20


# Of JPEGs of photographs at quality 95, from above; only to foresee a size.
BYTES_A_PIXEL = 0.6


USUAL_ASPECT = 1.5


# Keys beside the records, all of which come after "!"; the last transaction removes
# them. Each commit writes both with the records that they speak of.
STATE = b"!state"


SKIPPED = b"!skipped%08d"


MAX_FILE_BYTES = 256 << 20
"""Of an image: as many as the pixels of the largest that Pillow takes."""


MEAN_TOLERANCE = 100.0
"""What the mean of the pixels stored may differ from that before JPEG, of 255, times
the quality: half a step of the quantised means of blocks, for all channels in one."""


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Form:
    """How images are stored: see `jpegs.stored`; seed: of the shuffle."""

    max_side: int
    quality: int
    seed: int


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

    def summary(self) -> dict:
        """What `check` compares; the mean is that of the images' means, BGR."""
        return {
            "images": self.records,
            "images_per_label": self.images_per_label,
            "records_sha256": self.digest,
            "mean": [total / max(1, self.records) for total in self.sums],
        }


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


def estimated_bytes(index: ImageIndex, max_side: int) -> int:
    """About how large the database of all these images becomes."""
    sizes = index.sizes
    if max_side:
        largest = BYTES_A_PIXEL * USUAL_ASPECT * max_side**2
        sizes = np.minimum(sizes, int(largest))
    pages = (sizes + 64) // PAGE + 1
    return int(pages.sum()) * PAGE + SMALLEST_MAP // 64


def partial_state(path: Path) -> State | None:
    """How far an interrupted `write` to `path` is; None where nothing is to go on."""
    partial = datum_lmdb.partial_of(path)
    if not (partial / DATABASE).is_file():
        return None
    try:
        if (partial / INFO).is_file():
            info = json.loads((partial / INFO).read_text())
            return State(
                info["made_from"],
                done=info["done"],
                records=info["images"],
                skipped=info["skipped"],
            )
        with _open(partial, SMALLEST_MAP) as environment:
            return _read_state(environment)
    except (lmdb.Error, OSError, ValueError, KeyError, TypeError):
        return None


def partial_found(path: Path, archives: list[Path]) -> Found | None:
    """What `write` kept, so as to go on, of what its source holds; None: nothing.

    archives: where the source's tars are now, in the order of the index's `files`.
    """
    try:
        found = load(datum_lmdb.partial_of(path) / INDEX)
        return replace(found, index=replace(found.index, files=tuple(archives)))
    except (OSError, ValueError, KeyError):
        (datum_lmdb.partial_of(path) / INDEX).unlink(missing_ok=True)
        return None


def write(
    path: Path,
    found: Found,
    form: Form,
    made_from: dict,
    jobs: int,
    strict: bool,
    report: Path,
    progress: Progress,
) -> dict:
    """Store `found` in shuffled order as the LMDB folder `path`; return its info.

    It goes on with `path`.partial where `partial_state` has the same `made_from`, and
    starts over otherwise; content and order do not depend on `jobs` or interruptions.
    Unfit images are named with their reasons in the file `report`. `progress(done,
    total)` is called as images are done. Raises UserError where the disk is full, and,
    if `strict`, at the first unfit image; what is done is kept.
    """
    datum_lmdb.restore_old(path)
    partial = datum_lmdb.partial_of(path)
    state = partial_state(path)
    if state is None or state.made_from != made_from:
        shutil.rmtree(partial, ignore_errors=True)
        state = State(made_from)
    if strict and found.skipped:
        name, reason = found.skipped[0]
        raise _strict(_printable(name), reason)
    if strict and state.skipped:
        raise UserError(
            f"{partial} was begun without --strict and has {state.skipped} files "
            f"skipped: without --strict it goes on and lists them in {report}"
        )
    needed = estimated_bytes(found.index, form.max_side)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        if not (partial / INFO).is_file():
            if not (partial / INDEX).is_file():
                _save(found, partial / INDEX)
            _Writer(partial, found, form, needed).run(
                state, jobs, strict, report, progress
            )
        return _finish(path)
    except (lmdb.Error, OSError) as error:
        left = _bytes_left(partial, state, len(found.index), needed)
        raise UserError(
            f"{partial} cannot be written ({error}): about {megabytes(left)} more are "
            "needed; make room, and run the same command again to go on, or choose "
            "another folder with --out"
        ) from error


def check(path: Path, jobs: int, progress: Progress) -> dict:
    """Read and decode every record of the database `path`; compare with its info.

    Returns the info. Raises UserError, naming the first thing that differs.
    """
    info = datum_lmdb.read_info(path)
    try:
        form, promised = Form(**info["form"]), info["images"]
        with _open(path, SMALLEST_MAP, readonly=True) as environment:
            entries = environment.stat()["entries"]
    except (KeyError, TypeError, lmdb.Error) as error:
        raise UserError(f"{path} is damaged or not made here: {error}") from error
    if entries != promised:
        raise UserError(
            f"{path} is damaged: it holds {entries} records, {INFO} says {promised}"
        )
    state = State({})
    outcomes = ordered_map(
        _check_some,
        _tasks(0, entries),
        _useful_jobs(jobs, entries),
        _start_checking,
        (path, form),
    )
    with closing(outcomes):
        for some in outcomes:
            for outcome in some:
                if outcome.reason:
                    raise UserError(
                        f"{path} is damaged: record {outcome.place:08d} "
                        f"{outcome.reason}"
                    )
                state.add_record(outcome.label, outcome.digest, outcome.mean)
            progress(state.records, entries)
    for name, value in state.summary().items():
        if name == "mean":
            pairs = zip(value, info.get(name, ()), strict=False)
            tolerance = MEAN_TOLERANCE / form.quality
            same = [abs(a - b) <= tolerance for a, b in pairs] == [True] * 3
        else:
            same = info.get(name) == value
        if not same:
            raise UserError(
                f"{path} is damaged: {name} is {value}, {INFO} says {info.get(name)}"
            )
    return info


class _Writer:
    """Fills `partial`; the processes that make the records are started by `run`."""

    def __init__(self, partial: Path, found: Found, form: Form, needed: int) -> None:
        self._partial = partial
        self._found = found
        self._form = form
        self._map_size = SMALLEST_MAP + needed
        self._values: list[bytes] = []  # records since the last commit
        self._skipped: list[tuple[str, str]] = []

    def run(
        self,
        state: State,
        jobs: int,
        strict: bool,
        report: Path,
        progress: Progress,
    ) -> None:
        index = self._found.index
        order = shuffled_order(len(index), self._form.seed)
        outcomes = ordered_map(
            _prepare_some,
            _tasks(state.done, len(index)),
            _useful_jobs(jobs, len(index) - state.done),
            _start_preparing,
            (index, order, self._form),
        )
        with closing(outcomes), _open(self._partial, self._map_size) as environment:
            if state.done == 0:
                self._skipped += [
                    (_printable(name), reason) for name, reason in self._found.skipped
                ]
            self._commit(environment, state)
            progress(state.done, len(index))
            for some in outcomes:
                for outcome in some:
                    name = _printable(index.name(outcome.place))
                    if outcome.reason and strict:
                        self._commit(environment, state)
                        raise _strict(name, outcome.reason)
                    self._add(outcome, name, state)
                    if sum(map(len, self._values)) >= COMMIT_BYTES:
                        self._commit(environment, state)
                progress(state.done, len(index))
            if not state.records and not self._values:
                raise UserError(
                    f"none of the {len(index)} images can be stored; the first: "
                    f"{self._skipped[0][0]} {self._skipped[0][1]}"
                )
            self._commit(environment, state)
            skipped = [f"{name}\t{why}" for name, why in _read_skipped(environment)]
        if skipped:
            with whole_file(report, "w") as file:
                file.write("".join(f"{line}\n" for line in sorted(skipped)))
        else:
            report.unlink(missing_ok=True)
        info = {
            **state.summary(),
            "mean_is": "of the images' means, BGR, 0 to 255",
            "encoded": True,
            "skipped": state.skipped,
            "changed": state.changes,
            "form": asdict(self._form),
            "classes": self._found.classes,
            "made_from": state.made_from,
            "done": state.done,
            "bytes": None,  # until `_finish`
        }
        with whole_file(self._partial / INFO, "w") as file:
            file.write(json.dumps(info, indent=2) + "\n")

    def _add(self, outcome: Outcome, name: str, state: State) -> None:
        state.done += 1
        if outcome.reason:
            self._skipped.append((name, outcome.reason))
            return
        self._values.append(outcome.record)
        state.add_record(outcome.label, outcome.digest, outcome.mean)
        for change in outcome.changes:
            state.changes[change] = state.changes.get(change, 0) + 1

    def _commit(self, environment: lmdb.Environment, state: State) -> None:
        """Store what has come since the last commit, with the state it leads to."""
        after = replace(state, skipped=state.skipped + len(self._skipped))
        while True:
            try:
                with environment.begin(write=True) as transaction:
                    first = state.records - len(self._values)
                    for number, value in enumerate(self._values, first):
                        transaction.put(b"%08d" % number, value, append=True)
                    for number, pair in enumerate(self._skipped, state.skipped):
                        transaction.put(SKIPPED % number, json.dumps(pair).encode())
                    transaction.put(STATE, json.dumps(asdict(after)).encode())
                break
            except lmdb.MapFullError:
                self._map_size *= 2
                environment.set_mapsize(self._map_size)
        state.skipped = after.skipped
        self._values, self._skipped = [], []


def _finish(path: Path) -> dict:
    """Give a partial database whose info is written its final content and name."""
    partial = datum_lmdb.partial_of(path)
    info = json.loads((partial / INFO).read_text())
    with _open(partial, SMALLEST_MAP) as environment:
        with environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            while cursor.first() and cursor.key().startswith(b"!"):
                cursor.delete()
        environment.sync(True)
    info["bytes"] = (partial / DATABASE).stat().st_size
    with whole_file(partial / INFO, "w") as file:
        file.write(json.dumps(info, indent=2) + "\n")
    for file in partial.iterdir():  # the index, and what a kill left half-written
        if file.name not in (DATABASE, INFO):
            file.unlink()
    datum_lmdb.put_in_place(path)
    return info


def _strict(name: str, reason: str) -> UserError:
    return UserError(
        f"{name} {reason}: without --strict it is skipped; the same command goes on "
        "with what is done"
    )


def _save(found: Found, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    save(found, temporary)
    temporary.replace(path)


def _open(folder: Path, map_size: int, readonly: bool = False) -> lmdb.Environment:
    """Without LMDB's locks: who writes has the outer folder, who reads it complete."""
    size = (folder / DATABASE).stat().st_size if (folder / DATABASE).exists() else 0
    return lmdb.open(
        str(folder),
        map_size=max(map_size, size + SMALLEST_MAP),
        mode=0o644,
        lock=False,
        readonly=readonly,
    )


def _read_state(environment: lmdb.Environment) -> State | None:
    with environment.begin() as transaction:
        text = transaction.get(STATE)
    return State(**json.loads(text)) if text else None


def _read_skipped(environment: lmdb.Environment) -> Iterator[tuple[str, str]]:
    """Names, and why each is skipped."""
    with environment.begin() as transaction:
        cursor = transaction.cursor()
        there = cursor.set_range(SKIPPED % 0)
        while there and cursor.key().startswith(SKIPPED[:8]):
            yield tuple(json.loads(cursor.value()))
            there = cursor.next()


def _bytes_left(partial: Path, state: State, total: int, estimate: int) -> int:
    """About how much is still to be written, judged by what has been."""
    size = (partial / DATABASE).stat().st_size if (partial / DATABASE).exists() else 0
    if state.done:
        estimate = max(estimate, size * total // state.done)
    return max(estimate - size, COMMIT_BYTES)


def _tasks(start: int, stop: int) -> Iterator[range]:
    """Places of a few images at a time."""
    for first in range(start, stop, IMAGES_A_TASK):
        yield range(first, min(first + IMAGES_A_TASK, stop))


def _useful_jobs(wanted: int, images: int) -> int:
    """No more processes than there are tasks."""
    return max(1, min(wanted, -(-images // IMAGES_A_TASK)))


def _printable(name: str) -> str:
    """A file's name in one line of UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]


# What a process is given when it starts, and works with.
_given: tuple = ()


def _start_preparing(index: ImageIndex, order: np.ndarray, form: Form) -> None:
    global _given
    _given = index, order, form
    jpegs.be_quiet()


def _prepare_some(places: range) -> list[Outcome]:
    index, order, form = _given
    return [_prepare(index, int(order[place]), form) for place in places]


def _prepare(index: ImageIndex, place: int, form: Form) -> Outcome:
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
        return Outcome(place, reason=_printable(str(error)))
    label = int(index.labels[place])
    record = Datum(data=jpeg.content, label=label, encoded=True)
    value = record.SerializeToString()
    digest = hashlib.sha256(value).digest()
    return Outcome(place, "", value, label, digest, jpeg.mean, jpeg.changes)


def _start_checking(path: Path, form: Form) -> None:
    global _given
    _given = _open(path, SMALLEST_MAP, readonly=True), form
    jpegs.be_quiet()


def _check_some(places: range) -> list[Outcome]:
    environment, form = _given
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
        return Outcome(place, _printable(str(error)))
    if not datum.encoded:
        return Outcome(place, "is not marked as encoded")
    if 0 < form.max_side < min(size):
        shown = f"{size[0]} × {size[1]}"
        return Outcome(
            place,
            f"has {shown} pixels, the shorter edge at most expected as {form.max_side}",
        )
    digest = hashlib.sha256(value).digest()
    return Outcome(place, "", b"", datum.label, digest, mean)
