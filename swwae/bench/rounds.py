"""Measures contenders: compares their results once, then lets them take turns."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from generator.errors import UserError
from swwae.bench.comparison import differences
from swwae.bench.contender import Contender, by_setting, setting_text
from swwae.bench.job import Refused
from swwae.bench.memory import available_memory
from swwae.bench.worker import Worker

Progress = Callable[[str], None]
"""What is called with what is being done."""

WARM_UP = 2
"""Steps before those that count: blobs and primitives are made in the first."""

DISTURBANCE = 1e-4
"""Relative, with a random sign: a hundred times what another order of sums changes.
Units and switches near a tie, one of which rounding may flip by chance, are sure to be
among those that it flips."""

MARGIN = 1.25
"""How many times the largest worker's memory must be free for one more to be kept."""


def measure(
    contenders: Sequence[Contender],
    blobs: Sequence[str],
    folder: Path,
    *,
    rounds: int,
    seconds: float,
    layers: bool,
    progress: Progress,
) -> None:
    """Compares results, then times steps; the contenders keep what is found.

    blobs: outputs that are compared. folder: for what they write meanwhile. seconds:
    the length of a turn. layers: whether Caffe's layers are timed, too. progress: is
    called with what is being done. Raises UserError where a process dies, or the
    reference is refused.
    """
    for setting, group in by_setting(contenders).items():
        progress("comparing results: " + setting_text(setting))
        compare([c for c in group if not c.refused], blobs, folder)
    turns = Rounds(contenders, progress)
    try:
        turns.warm_up(seconds)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            turns.round(number)
        if layers:
            turns.layers()
    finally:
        turns.close()


class Rounds:
    """Runs contenders in turn. To be closed.

    Their processes are kept from turn to turn while memory is enough for all of them;
    otherwise each is ended after its turn. Raises UserError where one dies.
    """

    def __init__(self, contenders: Sequence[Contender], progress: Progress) -> None:
        self._contenders = [c for c in contenders if not c.refused]
        self._progress = progress
        self._running: dict[int, Worker] = {}
        self._others = 0.0  # of the latest turn
        self.kept = True

    def warm_up(self, seconds: float) -> None:
        """Lets everyone take a few steps, and settles how many fill `seconds`."""
        for contender in list(self._contenders):
            self._make_room(contender.batch)
            try:
                times = self._turn(contender, 1)
                if 1000 * seconds > 4 * times[0]:  # more are cheap, and one may mislead
                    times += self._turn(contender, 3)
            except Refused as error:
                self._drop(contender, error)
                continue
            contender.count = max(1, ceil(1000 * seconds / min(times)))

    def round(self, number: int) -> None:
        """Gives everyone a turn, beginning with another one in each round."""
        first = number % max(1, len(self._contenders))
        for contender in self._contenders[first:] + self._contenders[:first]:
            try:
                milliseconds = median(self._turn(contender, contender.count))
            except Refused as error:
                self._drop(contender, error)
                continue
            contender.times.append(milliseconds)
            contender.others.append(self._others)
            self._progress(f"{contender.title}: {milliseconds:.4g} ms a step")

    def layers(self) -> None:
        """Times the layers of Caffe's contenders, a turn of theirs each."""
        for contender in self._contenders:
            if contender.job.kind == "caffe":
                answer = self._worker(contender).ask(layers=contender.count)
                contender.layers = answer["milliseconds"]
                contender.gigabytes = answer["gigabytes"]
                contender.copied = answer["copied"]
                if not self.kept:
                    self.close()

    def _drop(self, contender: Contender, error: Refused) -> None:
        """Leaves a contender out from now on, and says why."""
        contender.refused = str(error)
        contender.times.clear()
        contender.others.clear()
        self._contenders.remove(contender)

    def close(self) -> None:
        """Ends all processes."""
        while self._running:
            _, worker = self._running.popitem()
            worker.close()

    def _turn(self, contender: Contender, count: int) -> list[float]:
        """Returns the milliseconds of so many steps."""
        answer = self._worker(contender).ask(steps=count)
        self._note(contender, answer)
        self._others = answer["others"]
        if not self.kept:
            self.close()
        return answer["milliseconds"]

    def _note(self, contender: Contender, answer: Mapping[str, Any]) -> None:
        """Keeps what an answer says beside the times."""
        contender.peak = max(contender.peak, answer["peak"])
        contender.finite &= answer["loss"] is not None

    def _worker(self, contender: Contender) -> Worker:
        """Returns the contender's process, warm."""
        worker = self._running.get(id(contender))
        if worker is None:
            worker = Worker(contender.job, contender.title)
            self._running[id(contender)] = worker
            worker.ask(steps=WARM_UP)
        return worker

    def _make_room(self, batch: int) -> None:
        """Ends everyone where a worker of that batch size would hardly fit beside."""
        if not (self.kept and self._running):
            return
        needs = (
            contender.peak * max(1, batch / contender.batch)
            for contender in self._contenders
            if contender.peak
        )
        if self._available() < MARGIN * max(needs, default=0):
            self.kept = False
            self._progress("memory is short: every turn has a process of its own")
            self.close()

    def _available(self) -> int:
        """Returns the bytes of memory that one more process could have."""
        return available_memory()


def compare(
    contenders: Sequence[Contender], blobs: Sequence[str], folder: Path
) -> None:
    """Sets `differences`, and `refused` where a side cannot have the network. The first
    contender is the reference.

    One pass in both directions each, one process at a time. Raises UserError where the
    reference is refused, or a process dies.
    """
    expected, found = folder / "reference.npz", folder / "found.npz"
    reference = contenders[0]
    try:
        try:
            _write_pass(reference, blobs, expected)
        except Refused as error:
            raise UserError(f"{reference.title}: {error}") from error
        for contender in contenders:
            disturbance = DISTURBANCE if contender is reference else 0
            try:
                _write_pass(contender, blobs, found, disturbance)
            except Refused as error:
                contender.refused = str(error)
                continue
            contender.differences = differences(expected, found)
    finally:
        for path in (expected, found):
            with suppress(OSError):
                path.unlink()


def _write_pass(
    contender: Contender, blobs: Sequence[str], path: Path, disturbance: float = 0
) -> None:
    """Writes the results of one pass of a contender, as `write_results` does."""
    worker = Worker(contender.compared, contender.title)
    try:
        worker.ask(compare=str(path), blobs=list(blobs), disturbance=disturbance)
    finally:
        worker.close()
