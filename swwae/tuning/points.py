"""The points of a search of learning rates: what was tried, and which is the best.

A point multiplies the present rate of every macro-layer by one factor. As the encoder
is fixed and every macro-layer has a decoder of its own, one training tests the factor
for all of them at once, and one that diverges does not touch the others.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LossChange:
    """What a training did to the reconstruction loss of one macro-layer.

    start: without any update; end: the mean over the last iterations, None where it
    did not get there; diverged: the iteration at which the loss was found to have
    diverged, None where it had not. Losses are Caffe's, 1/(2N) of the sum over N
    images.
    """

    start: float
    end: float | None
    diverged: int | None

    @property
    def decrease(self) -> float | None:
        return None if self.end is None else self.start - self.end


@dataclass(frozen=True)
class Point:
    """A factor that was tried.

    iterations: that were done; seconds: that they took; results: by macro-layer.
    """

    factor: float
    iterations: int
    seconds: float
    results: Mapping[int, LossChange]


@dataclass(frozen=True)
class Choice:
    """What was found for a macro-layer, in factors of its present rate.

    best: of the largest decrease, None where no rate lowers the loss; decrease: that
    one, from `start`; highest_stable: the last that did not diverge, None where all
    did; at_end: -1 or 1 where a smaller or a larger factor than were tried might be
    better, else 0.
    """

    best: float | None
    decrease: float
    start: float
    highest_stable: float | None
    at_end: int


def choose_factor(points: Iterable[Point], index: int) -> Choice:
    """Returns the choice for a macro-layer among points, one at least.

    Factors above the smallest that diverged are left out, whatever they did.
    """
    points = sorted(points, key=lambda point: point.factor)
    start = points[0].results[index].start
    limit = smallest_diverged(points, index)
    stable = [
        point
        for point in points
        if point.factor < limit and point.results[index].end is not None
    ]
    if not stable:
        return Choice(None, 0.0, start, None, -1)
    best = max(stable, key=lambda point: point.results[index].decrease)
    at_end = 0
    if best is stable[-1] and math.isinf(limit):
        at_end = 1
    elif best is stable[0]:
        at_end = -1
    decrease = best.results[index].decrease
    return Choice(
        best.factor if decrease > 0 else None,
        decrease,
        start,
        stable[-1].factor,
        at_end,
    )


def smallest_diverged(points: Iterable[Point], index: int) -> float:
    """Returns the smallest factor at which a macro-layer diverged; infinite: none."""
    return min(
        (p.factor for p in points if p.results[index].diverged is not None),
        default=math.inf,
    )
