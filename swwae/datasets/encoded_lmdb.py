"""Writes indexed images as an LMDB of JPEGs that Caffe's Data layer decodes.

The keys are `00000000`, `00000001`, …; `encoded_records` has the records. The database
grows in `<name>.partial`, which holds with every commit how far it is and what it is
made from (`encoded_state`), so that `write` goes on with it whenever it was ended.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from generator.errors import UserError
from swwae.base.files import whole_file, write_json
from swwae.datasets import database_folders, encoded_state
from swwae.datasets.database_folders import DATABASE, INFO, megabytes, partial_of
from swwae.datasets.datum_lmdb import PAGE
from swwae.datasets.encoded_records import (
    Form,
    Outcome,
    check_records,
    make_records,
    printable,
)
from swwae.datasets.encoded_state import (
    INDEX,
    State,
    open_database,
    partial_state,
    read_skipped,
    remove_state,
    write_commit,
)
from swwae.datasets.found_images import FoundImages, save
from swwae.datasets.image_index import ImageIndex
from swwae.datasets.labelled_images import shuffled_order

COMMIT_BYTES = 16 << 20
"""At most so much is done twice after a kill."""

# JPEGs of photographs at quality 95, from above; only to foresee a size.
BYTES_A_PIXEL = 0.6
USUAL_ASPECT = 1.5

MEAN_TOLERANCE = 100.0
"""What the mean of the pixels stored may differ from that before JPEG, of 255, times
the quality: half a step of the quantised means of blocks, for all channels in one."""

Progress = Callable[[int], None]
"""Is called with the number of images done so far."""


def estimated_bytes(index: ImageIndex, max_side: int) -> int:
    """Returns about how large the database of all these images becomes."""
    sizes = index.sizes
    if max_side:
        largest = BYTES_A_PIXEL * USUAL_ASPECT * max_side**2
        sizes = np.minimum(sizes, int(largest))
    pages = (sizes + 64) // PAGE + 1
    return int(pages.sum()) * PAGE + encoded_state.SMALLEST_MAP // 64


def write(
    path: Path,
    found: FoundImages,
    form: Form,
    *,
    made_from: dict[str, Any],
    jobs: int,
    strict: bool,
    report: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Stores `found` in shuffled order as the LMDB folder `path`; returns its info.

    It goes on with `path`.partial where `partial_state` has the same `made_from`, and
    starts over otherwise; content and order do not depend on `jobs` or interruptions.
    Unfit images are named with their reasons in the file `report`. `progress(done)` is
    called as images are done. Raises UserError where the disk is full, and, if
    `strict`, at the first unfit image; what is done is kept.
    """
    database_folders.restore_old(path)
    partial = partial_of(path)
    state = partial_state(path)
    if state is None or state.made_from != made_from:
        shutil.rmtree(partial, ignore_errors=True)
        state = State(made_from)
    if strict and found.skipped:
        name, reason = found.skipped[0]
        raise _unfit(printable(name), reason)
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
                save(found, partial / INDEX)
            writer = _Writer(partial, found, form, state, needed)
            writer.run(jobs, strict, progress)
            writer.write_report(report)
            writer.write_info()
        return _finish(path)
    except (lmdb.Error, OSError) as error:
        left = _bytes_left(partial, state, len(found.index), needed)
        raise UserError(
            f"{partial} cannot be written ({error}): about {megabytes(left)} more are "
            "needed; make room, and run the same command again to go on, or choose "
            "another folder with --out"
        ) from error


def check(path: Path, jobs: int, progress: Progress) -> dict[str, Any]:
    """Reads and decodes every record of the database `path`; compares with its info.

    Returns the info. Raises UserError, naming the first thing that differs.
    """
    info = database_folders.read_info(path)
    try:
        form, images = Form(**info["form"]), info["images"]
        with open_database(path, readonly=True) as environment:
            entries = environment.stat()["entries"]
    except (KeyError, TypeError, lmdb.Error) as error:
        raise UserError(f"{path} is damaged or not made here: {error}") from error
    if entries != images:
        raise UserError(
            f"{path} is damaged: it holds {entries} records, {INFO} says {images}"
        )
    state = State({})
    with closing(check_records(path, entries, form, jobs)) as outcomes:
        for some in outcomes:
            for outcome in some:
                if outcome.reason:
                    raise UserError(
                        f"{path} is damaged: record {outcome.place:08d} "
                        f"{outcome.reason}"
                    )
                state.add_record(outcome.label, outcome.digest, outcome.mean)
            progress(state.records)
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
    """Fills `partial` with what `state` lacks."""

    def __init__(
        self, partial: Path, found: FoundImages, form: Form, state: State, needed: int
    ) -> None:
        self._partial = partial
        self._found = found
        self._form = form
        self._state = state
        self._map_size = encoded_state.SMALLEST_MAP + needed
        self._records: list[bytes] = []  # since the last commit
        self._skipped: list[tuple[str, str]] = []

    def run(self, jobs: int, strict: bool, progress: Progress) -> None:
        """Stores all images; raises UserError as `write` does."""
        index, state = self._found.index, self._state
        order = shuffled_order(len(index), self._form.seed)
        outcomes = make_records(index, order, state.done, self._form, jobs)
        database = open_database(self._partial, self._map_size)
        with closing(outcomes), database as environment:
            if state.done == 0:
                self._skipped += [
                    (printable(name), reason) for name, reason in self._found.skipped
                ]
            self._commit(environment)
            for some in outcomes:
                for outcome in some:
                    name = printable(index.name(outcome.place))
                    if outcome.reason and strict:
                        self._commit(environment)
                        raise _unfit(name, outcome.reason)
                    self._add(outcome, name)
                    if sum(map(len, self._records)) >= COMMIT_BYTES:
                        self._commit(environment)
                progress(state.done)
            if not state.records and not self._records:
                raise UserError(
                    f"none of the {len(index)} images can be stored; the first: "
                    f"{self._skipped[0][0]} {self._skipped[0][1]}"
                )
            self._commit(environment)

    def write_report(self, report: Path) -> None:
        """Lists what was skipped, and why, in a file; without any, there is none."""
        with open_database(self._partial, self._map_size) as environment:
            lines = sorted(f"{name}\t{why}" for name, why in read_skipped(environment))
        if lines:
            with whole_file(report, "w") as file:
                file.write("".join(f"{line}\n" for line in lines))
        else:
            report.unlink(missing_ok=True)

    def write_info(self) -> None:
        """Writes the database's info, but for its size."""
        state = self._state
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
        write_json(self._partial / INFO, info)

    def _add(self, outcome: Outcome, name: str) -> None:
        state = self._state
        state.done += 1
        if outcome.reason:
            self._skipped.append((name, outcome.reason))
            return
        self._records.append(outcome.record)
        state.add_record(outcome.label, outcome.digest, outcome.mean)
        for change in outcome.changes:
            state.changes[change] = state.changes.get(change, 0) + 1

    def _commit(self, environment: lmdb.Environment) -> None:
        """Stores what has come since the last commit, with the state it leads to."""
        state = self._state
        after = replace(state, skipped=state.skipped + len(self._skipped))
        first = state.records - len(self._records)
        while True:
            try:
                write_commit(environment, first, self._records, self._skipped, after)
                break
            except lmdb.MapFullError:
                self._map_size *= 2
                environment.set_mapsize(self._map_size)
        state.skipped = after.skipped
        self._records, self._skipped = [], []


def _finish(path: Path) -> dict[str, Any]:
    """Gives a partial database whose info is written its final content and name."""
    partial = partial_of(path)
    info = json.loads((partial / INFO).read_text(encoding="utf-8"))
    remove_state(partial)
    info["bytes"] = (partial / DATABASE).stat().st_size
    write_json(partial / INFO, info)
    for file in partial.iterdir():  # the index, and what a kill left half-written
        if file.name not in (DATABASE, INFO):
            file.unlink()
    database_folders.put_in_place(path)
    return info


def _unfit(name: str, reason: str) -> UserError:
    return UserError(
        f"{name} {reason}: without --strict it is skipped; the same command goes on "
        "with what is done"
    )


def _bytes_left(partial: Path, state: State, total: int, estimate: int) -> int:
    """About how much is still to be written, judged by what has been."""
    size = (partial / DATABASE).stat().st_size if (partial / DATABASE).exists() else 0
    if state.done:
        estimate = max(estimate, size * total // state.done)
    return max(estimate - size, COMMIT_BYTES)
