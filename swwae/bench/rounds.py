"""Contenders that take turns, and what their figures say of one another."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import median

import numpy as np

from generator.errors import UserError
from swwae.bench.job import Job, Refused, available_memory
from swwae.bench.worker import Worker

WARM_UP = 2
"""Steps before those that count: blobs and primitives are made in the first."""


DISTURBANCE = 1e-4
"""Relative, with a random sign: a hundred times what another order of sums changes.
Units and switches near a tie, one of which rounding may flip by chance, are sure to be
among those that it flips."""


MARGIN = 1.25
"""How many times the largest worker's memory must be free for one more to be kept."""


@dataclass(frozen=True)
class Difference:
    """The largest of several tensors' differences, relative to the reference's.

    l2: of the Euclidean norms; most: of the largest magnitudes; each with the name of
    the tensor.
    """

    l2: float
    l2_of: str
    most: float
    most_of: str


@dataclass
class Contender:
    """A side at a batch size and a number of threads, and what came of it.

    refused: why there is nothing, where that is so. times: milliseconds a step, the
    median of each turn's. peak: bytes. differences: of "outputs" and "gradients", from
    the reference; the reference's own are those between it and what it computes with
    weights changed by DISTURBANCE. layers: type -> milliseconds forward and backward.
    gigabytes, copied: GB/s of layers that move numbers, likewise, and of a copy.
    """

    name: str
    batch: int
    job: Job
    compared: Job
    refused: str | None = None
    count: int = 1
    times: list[float] = field(default_factory=list)
    peak: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    finite: bool = True
    layers: dict[str, tuple[float, float]] = field(default_factory=dict)
    gigabytes: dict[str, tuple[float, float]] = field(default_factory=dict)
    copied: float = 0.0

    @property
    def setting(self) -> tuple[int, int]:
        return self.batch, self.job.threads

    @property
    def title(self) -> str:
        threads = "thread" if self.job.threads == 1 else "threads"
        return f"{self.name}, batch {self.batch}, {self.job.threads} {threads}"

    @property
    def milliseconds(self) -> float:
        """Of a step: the median of the turns'."""
        return median(self.times)


def speed_up(one: Contender, other: Contender) -> float:
    """How many times faster `one` takes a step: the median of the rounds' ratios.

    Turns of a round are neighbours in time, so that what slows the machine for a while
    slows both.
    """
    pairs = zip(other.times, one.times, strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def faster(contenders: Sequence[Contender]) -> Contender | None:
    """The one with the shortest steps of those that have any."""
    timed = [each for each in contenders if each.times]
    return min(timed, key=lambda each: each.milliseconds, default=None)


class Rounds:
    """Runs contenders in turn. To be closed.

    Their processes are kept from turn to turn while memory is enough for all of them;
    otherwise each is ended after its turn. Raises UserError where one dies.
    """

    def __init__(self, contenders: Sequence[Contender], say: Callable[[str], None]):
        self._contenders = [each for each in contenders if not each.refused]
        self._say = say
        self._running: dict[int, Worker] = {}
        self.kept = True

    def warm_up(self, seconds: float) -> None:
        """Lets everyone take a few steps, and settles how many fill `seconds`."""
        for each in list(self._contenders):
            self._make_room(each.batch)
            try:
                times = self._turn(each, 1)
                if 1000 * seconds > 4 * times[0]:  # more are cheap, and one may mislead
                    times += self._turn(each, 3)
            except Refused as error:
                each.refused = str(error)
                self._contenders.remove(each)
                continue
            each.count = max(1, ceil(1000 * seconds / min(times)))

    def round(self, number: int) -> None:
        """A turn for everyone, beginning with another one in each round."""
        first = number % max(1, len(self._contenders))
        for each in self._contenders[first:] + self._contenders[:first]:
            times = self._turn(each, each.count)
            each.times.append(median(times))
            self._say(f"{each.title}: {each.times[-1]:.4g} ms a step")

    def layers(self) -> None:
        """Sets `layers` of Caffe's contenders, a turn of theirs each."""
        for each in self._contenders:
            if each.job.kind == "caffe":
                worker = self._worker(each)
                told = worker.ask(layers=each.count)
                each.layers = told["milliseconds"]
                each.gigabytes, each.copied = told["gigabytes"], told["copied"]
                if not self.kept:
                    self.close()

    def close(self) -> None:
        while self._running:
            _, worker = self._running.popitem()
            worker.close()

    def _turn(self, each: Contender, count: int) -> list[float]:
        answer = self._worker(each).ask(steps=count)
        each.peak = max(each.peak, answer["peak"])
        each.finite &= answer["loss"] is not None
        if not self.kept:
            self.close()
        return answer["milliseconds"]

    def _worker(self, each: Contender) -> Worker:
        """The contender's process, warm."""
        worker = self._running.get(id(each))
        if worker is None:
            worker = self._running[id(each)] = Worker(each.job, each.title)
            worker.ask(steps=WARM_UP)
        return worker

    def _make_room(self, batch: int) -> None:
        """Ends everyone where a worker of that batch size would hardly fit beside."""
        needs = (
            each.peak * max(1, batch / each.batch)
            for each in self._contenders
            if each.peak
        )
        if not (self.kept and self._running):
            return
        if available_memory() < MARGIN * max(needs, default=0):
            self.kept = False
            self._say("memory is short: every turn has a process of its own")
            self.close()


def compare(
    contenders: Sequence[Contender], blobs: Sequence[str], folder: Path
) -> None:
    """Sets `differences`, and `refused` where it comes to that. The first contender is
    the reference.

    One pass in both directions each, one process at a time. Raises UserError where the
    reference is refused, or a process dies.
    """
    reference, found = folder / "reference.npz", folder / "found.npz"
    first = contenders[0]
    try:
        try:
            _passed(first, blobs, reference)
        except Refused as error:
            raise UserError(f"{first.title}: {error}") from error
        for each in contenders:
            try:
                _passed(each, blobs, found, DISTURBANCE if each is first else 0)
            except Refused as error:
                each.refused = str(error)
                continue
            each.differences = differences(reference, found)
    finally:
        for path in (reference, found):
            with suppress(OSError):
                path.unlink()


def _passed(
    each: Contender, blobs: Sequence[str], path: Path, disturbance: float = 0
) -> None:
    worker = Worker(each.compared, each.title)
    try:
        worker.ask(compare=str(path), blobs=list(blobs), disturbance=disturbance)
    finally:
        worker.close()


def differences(reference: Path, found: Path) -> dict[str, Difference]:
    """Of "outputs" and of "gradients", between what two `compare` requests wrote."""
    with np.load(reference) as expected, np.load(found) as given:
        result = {}
        for part in ("outputs", "gradients"):
            names = [name for name in expected.files if name.startswith(part)]
            if set(names) != {n for n in given.files if n.startswith(part)}:
                raise ValueError(f"{part} of different names: a mistake in bench.py")
            result[part] = largest(
                {
                    name.partition("/")[2]: relative(expected[name], given[name])
                    for name in names
                }
            )
        return result


def largest(each: Mapping[str, tuple[float, float]]) -> Difference:
    """Name -> (l2, most) as a Difference; a number that is none counts as largest."""

    def place(name: str, at: int) -> float:
        value = each[name][at]
        return value if value == value else float("inf")

    by_l2 = max(each, key=lambda name: place(name, 0))
    by_most = max(each, key=lambda name: place(name, 1))
    return Difference(place(by_l2, 0), by_l2, place(by_most, 1), by_most)


def relative(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """|found - expected| over |expected|: of the Euclidean norms, of the maxima."""
    scale = float(np.abs(expected).max(initial=0))
    if scale == 0:
        equal = not np.any(found)
        return (0.0, 0.0) if equal else (float("inf"), float("inf"))
    # divided first: squares of gradients may be out of a float32's range
    expected, found = expected / scale, found.reshape(expected.shape) / scale
    difference = found - expected
    most = float(np.abs(difference).max())
    if most == 0:
        return 0.0, 0.0
    norm = most * float(np.linalg.norm(difference / np.float32(most)))
    return norm / float(np.linalg.norm(expected)), most


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
