"""Training curves for a report, thinned, from a stage's log."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from generator.errors import UserError
from swwae.base.project import relative
from swwae.engine.log import (
    SEPARATOR,
    Iteration,
    Series,
    parse_line,
    read_lines,
)

MOST_POINTS = 600
"""Of a series; more are no longer told apart on a screen."""

RECENT = 10
"""Displays over which a running stage's speed is averaged."""


@dataclass(frozen=True)
class Curves:
    """The curves in a log, and how far its last session is.

    series: {"name", "phase" ("training" or "test"), "x" (iterations), "y" (values, None
    where one is not finite)} of each output and of the total loss. iteration: the last
    one that the last session displayed. rate: its recent speed, iterations/s. began:
    when it began. None where the log does not say.
    """

    series: tuple[dict[str, Any], ...] = ()
    iteration: int | None = None
    rate: float | None = None
    began: datetime | None = None


def curves(log: Path) -> Curves:
    """Reads a log, which may be growing; where there is none, there are no curves.

    Raises UserError where it cannot be read.
    """
    try:
        state = log.stat()
        return _read(log, state.st_mtime_ns, state.st_size)
    except FileNotFoundError:
        return Curves()
    except OSError as error:
        raise UserError(
            f"{relative(log)} cannot be read: {error.strerror}; it has no curves here."
        ) from error


@lru_cache(maxsize=256)
def _read(log: Path, _changed: int, _size: int) -> Curves:
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # it is being written
    parsed = read_lines(lines)
    series = []
    if len(parsed.loss[0]):
        series.append(_series("total loss", "training", parsed.loss))
    for phase, outputs in (("training", parsed.train), ("test", parsed.test)):
        series += [_series(name, phase, values) for name, values in outputs.items()]
    return Curves(tuple(series), *_last_session(lines))


def _series(name: str, phase: str, values: Series) -> dict[str, Any]:
    x, y = thinned(values)
    return {
        "name": name,
        "phase": phase,
        "x": x.tolist(),
        "y": [value if isfinite(value) else None for value in y.tolist()],
    }


def thinned(values: Series) -> Series:
    """Returns at most MOST_POINTS of a series, evenly, the first and last one kept."""
    count = len(values[0])
    if count <= MOST_POINTS:
        return values
    kept = np.linspace(0, count - 1, MOST_POINTS).round().astype(int)
    return values[0][kept], values[1][kept]


def _last_session(
    lines: list[str],
) -> tuple[int | None, float | None, datetime | None]:
    """Returns the last session's last iteration, its recent iterations/s, and when it
    began.

    The rate at a session's first display means nothing.
    """
    rates: list[float] = []
    iteration = began = None
    for line in reversed(lines):
        if line.startswith(SEPARATOR):
            with suppress(ValueError, IndexError, OverflowError):
                began = datetime.fromisoformat(line.split()[1]).astimezone()
            break
        event = parse_line(line) if len(rates) <= RECENT else None
        if isinstance(event, Iteration):
            iteration = event.iteration if iteration is None else iteration
            if event.rate is not None:
                rates.append(event.rate)
    recent = [rate for rate in rates[:-1] if rate > 0 and isfinite(rate)][:RECENT]
    rate = len(recent) / sum(1 / rate for rate in recent) if recent else None
    return iteration, rate, began
