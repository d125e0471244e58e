"""The grid of a search of learning rates: which factors are tried, and when."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swwae.tuning.points import Point, choose_factor, smallest_diverged

EXTENSION = 2
"""Decades by which the grid is extended at each end, at most (ours)."""


@dataclass(frozen=True)
class Grid:
    """Factors in a geometric series through 1. lowest, highest: where it ends."""

    lowest: float
    highest: float
    per_decade: int

    def factors(self) -> list[float]:
        """Returns the factors, ascending."""
        return [
            self._factor(step)
            for step in range(self._step(self.lowest), self._step(self.highest) + 1)
        ]

    def neighbour(self, factor: float, side: int) -> float | None:
        """Returns the factor below (side -1) or above (1) another.

        None where the grid is not extended any farther.
        """
        step = self._step(factor) + side
        most = EXTENSION * self.per_decade
        first, last = self._step(self.lowest) - most, self._step(self.highest) + most
        return self._factor(step) if first <= step <= last else None

    def _step(self, factor: float) -> int:
        return round(self.per_decade * math.log10(factor))

    def _factor(self, step: int) -> float:
        digits = 2 if self.per_decade < 10 else 3
        return float(f"{10 ** (step / self.per_decade):.{digits}g}")


def untried_factors(
    grid: Grid, points: Mapping[float, Point], indices: Iterable[int]
) -> tuple[list[float], bool]:
    """Returns the factors still to be tried, ascending; and whether they extend the
    grid.

    points: by factor. indices: of the macro-layers. Where all of them diverged,
    nothing larger is tried.
    """
    indices = list(indices)
    limit = max(smallest_diverged(points.values(), index) for index in indices)
    missing = [f for f in grid.factors() if f not in points and f < limit]
    if missing or not points:
        return missing, False
    beyond = set()
    for index in indices:
        side = choose_factor(points.values(), index).at_end
        if side:
            end = max(points) if side > 0 else min(points)
            beyond.add(grid.neighbour(end, side))
    return sorted(beyond - {None} - points.keys()), True
