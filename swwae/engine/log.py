"""Reads what `caffe train` logs: line by line as it comes, or a whole train.log.

log = read_log(Run("vgg16", "swwae-all", 4).log)
iterations, values = log.train["dec:loss@conv4_3"]
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from swwae.engine.cards import Card, parse_card

SEPARATOR = "==== "
"""How the line begins that run_stage.sh puts before each session's output."""


@dataclass(frozen=True)
class Iteration:
    """The total loss before the update of that number.

    rate: iterations/s since the last display, tests and snapshots included; the first
        one of a session means nothing; None in the line after the last update.
    """

    iteration: int
    loss: float
    rate: float | None


@dataclass(frozen=True)
class Output:
    """One value of an output blob, of the iteration or test that was named last.

    weight: what it is multiplied with in the total loss; None where it is no loss.
    """

    phase: str  # "Train" or "Test"
    index: int
    name: str
    value: float
    weight: float | None


@dataclass(frozen=True)
class LearningRate:
    """The last line that is logged for a displayed iteration."""

    iteration: int
    rate: float


@dataclass(frozen=True)
class BeginTest:
    """A test begins, of the weights after so many updates."""

    iteration: int


@dataclass(frozen=True)
class Snapshot:
    """A file of a snapshot is written. path: the weights or the solver's state."""

    path: str


@dataclass(frozen=True)
class Stopped:
    """Caffe was asked to stop and did, after a snapshot."""


@dataclass(frozen=True)
class Warned:
    """Training goes on without a snapshot that could not be written, or a record of the
    data that is damaged. message: a sentence."""

    message: str


@dataclass(frozen=True)
class NotFinite:
    """Caffe ends the training: a loss, or weights, are not finite.

    message: sentences on which and where; iteration: before it all were finite.
    """

    message: str
    iteration: int


@dataclass(frozen=True)
class Fatal:
    """Caffe refuses to go on, and ends the process."""

    message: str


Event = (
    Card
    | Iteration
    | Output
    | LearningRate
    | BeginTest
    | Snapshot
    | Stopped
    | Warned
    | NotFinite
    | Fatal
)

_COUNT = r"(\d{1,18})"  # NumPy's int64 holds it
_NUMBER = r"([-+]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?))"
_PREFIX = re.compile(r"([IWEF])\d{4,8} [\d:.]+ +\d+ [^\]]+\] ")
_ITERATION = re.compile(
    rf"Iteration {_COUNT}(?: \({_NUMBER} iter/s, .*\))?, loss = {_NUMBER}$"
)
_OUTPUT = re.compile(
    rf" +(Train|Test) net output #{_COUNT}: (.*) = {_NUMBER}"
    rf"(?: \(\* {_NUMBER} = {_NUMBER} loss\))?$"
)
_RATE = re.compile(rf"Iteration {_COUNT}, lr = {_NUMBER}$")
_TESTING = re.compile(rf"Iteration {_COUNT}, Testing net \(#\d+\)$")
_SNAPSHOT = re.compile(r"Wrote the whole of (.+)$")
_ENDS = "Training ends: "
_NOT_FINITE = re.compile(
    r"the (?:.+ is -?(?:nan|inf).* at|weights of .+ after) iteration (\d+)\."
)
_WARNED = re.compile(r"Cannot write |.+ takes its place \(\d+ of at most \d+ ")


def parse_line(line: str) -> Event | None:
    """Returns the event that a line of the log tells; None for all other lines."""
    line = line.rstrip("\r\n")
    prefix = _PREFIX.match(line)
    if prefix is None:
        return None
    text = line[prefix.end() :]
    if prefix[1] == "F" or (prefix[1] == "E" and text.startswith(_ENDS)):
        message = text.removeprefix(_ENDS)  # on several cards it is an abort
        if match := _NOT_FINITE.match(message):
            return NotFinite(message, int(match[1]))
        return Fatal(message)
    if prefix[1] == "W" and _WARNED.match(text):
        return Warned(text)
    if match := _OUTPUT.match(text):
        phase, index, name, value, weight, _ = match.groups()
        weight = None if weight is None else float(weight)
        return Output(phase, int(index), name, float(value), weight)
    if match := _ITERATION.match(text):
        rate = None if match[2] is None else float(match[2])
        return Iteration(int(match[1]), float(match[3]), rate)
    if match := _RATE.match(text):
        return LearningRate(int(match[1]), float(match[2]))
    if match := _TESTING.match(text):
        return BeginTest(int(match[1]))
    if match := _SNAPSHOT.match(text):
        return Snapshot(match[1])
    if text == "Optimization stopped early.":
        return Stopped()
    return parse_card(text) if text.startswith("GPU ") else None


TAIL = 1 << 16
"""Bytes at a log's end that hold its last iteration."""


def latest(path: Path) -> Iteration | None:
    """Returns the last iteration that a log displays; None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    # The last line may be half of one.
    events = (parse_line(line) for line in reversed(lines[:-1]))
    return next((event for event in events if isinstance(event, Iteration)), None)


def fatal_messages(lines: Iterable[str]) -> list[str]:
    """Returns the messages with which Caffe ended its process, in order."""
    events = map(parse_line, lines)
    return [event.message.strip() for event in events if isinstance(event, Fatal)]


Series = tuple[np.ndarray, np.ndarray]
"""Iterations (int64) and the values (float64) at them, both of shape (n,)."""


@dataclass(frozen=True)
class Log:
    """Everything a log says, a series a name, iterations ascending.

    loss: the weighted sum; train, test: each output, raw, by its blob's name (further
    values of the same blob as "<name> #2", …); weights: of those that are losses.
    """

    loss: Series
    learning_rate: Series
    train: dict[str, Series]
    test: dict[str, Series]
    weights: dict[str, float]


@dataclass
class _Table:
    """Values by name and iteration."""

    rows: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, name: str, iteration: int, value: float) -> None:
        row = self.rows.setdefault(name, {})
        number = 2
        base = name
        while iteration in row:
            name = f"{base} #{number}"
            row = self.rows.setdefault(name, {})
            number += 1
        row[iteration] = value

    def forget_from(self, iteration: int) -> None:
        for row in self.rows.values():
            for done in [i for i in row if i >= iteration]:
                del row[done]

    def series(self) -> dict[str, Series]:
        return {name: _series(row) for name, row in self.rows.items() if row}


def _series(row: dict[int, float]) -> Series:
    iterations = np.fromiter(row.keys(), np.int64, len(row))
    return iterations, np.fromiter(row.values(), np.float64, len(row))


def read_lines(lines: Iterable[str]) -> Log:
    """Reads a whole log. What a resumed session does again replaces the first try."""
    single = _Table()  # "loss" and "lr"
    train, test = _Table(), _Table()
    weights: dict[str, float] = {}
    iteration = tested = None
    resumed = False
    for line in lines:
        if line.startswith(SEPARATOR):
            resumed, iteration, tested = True, None, None
            continue
        event = parse_line(line)
        if resumed and isinstance(event, Iteration | BeginTest):
            for table in (single, train, test):
                table.forget_from(event.iteration)
            resumed = False
        if isinstance(event, Iteration):
            iteration = event.iteration
            single.rows.setdefault("loss", {})[iteration] = event.loss
        elif isinstance(event, LearningRate):
            single.rows.setdefault("lr", {})[event.iteration] = event.rate
        elif isinstance(event, BeginTest):
            tested = event.iteration
        elif isinstance(event, Output):
            table, at = (train, iteration) if event.phase == "Train" else (test, tested)
            if at is not None:
                table.add(event.name, at, event.value)
            if event.weight is not None:
                weights[event.name] = event.weight
    return Log(
        _series(single.rows.get("loss", {})),
        _series(single.rows.get("lr", {})),
        train.series(),
        test.series(),
        weights,
    )


def read_log(path: Path) -> Log:
    """Reads a log file; raises OSError where it cannot be read."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return read_lines(file)
