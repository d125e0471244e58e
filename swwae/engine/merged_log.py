"""The logs of trainings side by side, as that of one training that does all of it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import reduce
from operator import itemgetter
from typing import Any

import numpy as np

from swwae.engine.log import SEPARATOR, Log, Series


def merged(logs: Sequence[Log]) -> Log:
    """Returns one log of several: all their outputs, by name as Caffe has them, and the
    sum of their losses, at the iterations that all of them have."""
    everywhere = reduce(np.intersect1d, (log.loss[0] for log in logs))
    common = [_at(log.loss, everywhere) for log in logs]
    rates = reduce(np.intersect1d, (log.learning_rate[0] for log in logs))
    return Log(
        (everywhere, np.sum([values for _, values in common], axis=0)),
        _at(logs[0].learning_rate, rates),
        {name: _at(series, everywhere) for name, series in _all(logs, "train")},
        dict(_all(logs, "test")),
        dict(_all(logs, "weights")),
    )


def _all(logs: Sequence[Log], table: str) -> list[tuple[str, Any]]:
    items = (item for log in logs for item in getattr(log, table).items())
    return sorted(items, key=itemgetter(0))


def lines(log: Log, heading: str) -> Iterator[str]:
    """Yields the lines of a file from which `read_log` has a log again.

    heading: what is said of it in the first line.
    """
    now = datetime.now().astimezone()
    yield f"{SEPARATOR}{now.isoformat(timespec='seconds')} {heading}"
    prefix = f"I{now:%Y%m%d} {now:%H:%M:%S.%f} 0 merged] "
    rates = dict(zip(*map(np.ndarray.tolist, log.learning_rate), strict=True))
    losses = dict(zip(*map(np.ndarray.tolist, log.loss), strict=True))
    train, test = _by_iteration(log.train), _by_iteration(log.test)
    for iteration in sorted({*losses, *test}):
        if iteration in test:
            yield f"{prefix}Iteration {iteration}, Testing net (#0)"
            yield from _outputs(prefix, "Test", test[iteration], log.weights)
        if iteration in losses:
            yield f"{prefix}Iteration {iteration}, loss = {losses[iteration]:.6g}"
            outputs = train.get(iteration, {})
            yield from _outputs(prefix, "Train", outputs, log.weights)
        if iteration in rates:
            yield f"{prefix}Iteration {iteration}, lr = {rates[iteration]:.6g}"


def _at(series: Series, iterations: np.ndarray) -> Series:
    """Returns a series at those of the iterations that it has."""
    kept = np.isin(series[0], iterations)
    return series[0][kept], series[1][kept]


def _by_iteration(table: dict[str, Series]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for name, (iterations, values) in table.items():
        for iteration, value in zip(iterations.tolist(), values.tolist(), strict=True):
            found.setdefault(iteration, {})[name] = value
    return found


def _outputs(
    prefix: str, phase: str, values: dict[str, float], weights: dict[str, float]
) -> Iterator[str]:
    for number, (name, value) in enumerate(values.items()):
        line = f"{prefix}    {phase} net output #{number}: {name} = {value:.6g}"
        if (weight := weights.get(name)) is not None:
            line += f" (* {weight:.6g} = {weight * value:.6g} loss)"
        yield line
