"""Follows the losses of one training: which diverge, and what they come down to."""

import math
from collections.abc import Iterable, Mapping

from swwae.tuning.points import LossChange

DIVERGENCE = 10
"""A macro-layer has diverged where its loss is no number, or so many times what it was
before the first update (ours)."""

AVERAGED_SHARE = 0.05
"""The share of the iterations over which losses are averaged, at the start and at the
end (ours): the images of one batch are harder than another's."""


def averaged_count(iterations: int) -> int:
    """Returns how many losses of a training a mean is over."""
    return max(1, round(AVERAGED_SHARE * iterations))


class LossRecord:
    """The losses of several macro-layers in one training, as they come.

    iterations: how many have been done.
    """

    def __init__(
        self, planned: int, start: Mapping[int, float], watched: Iterable[int]
    ) -> None:
        """planned: iterations. start: macro-layer -> its loss without any update.
        watched: the macro-layers for whose sake the training runs."""
        self._planned = planned
        self._start = start
        self._watched = set(watched)
        self._sums = dict.fromkeys(start, 0.0)
        self._diverged: dict[int, int] = {}
        self.iterations = 0

    def add(self, losses: Mapping[int, float]) -> None:
        """Takes the losses before the next update, by macro-layer."""
        for index, loss in losses.items():
            if index in self._diverged:
                continue
            if not loss <= DIVERGENCE * self._start[index] or math.isinf(loss):
                self._diverged[index] = self.iterations
            elif self.iterations >= self._planned - averaged_count(self._planned):
                self._sums[index] += loss
        self.iterations += 1

    @property
    def all_diverged(self) -> bool:
        """Whether every watched macro-layer has: there is nothing left to learn."""
        return self._watched <= self._diverged.keys()

    def results(self) -> dict[int, LossChange]:
        """Returns what the training did, by macro-layer."""
        complete = self.iterations >= self._planned
        return {
            index: LossChange(
                start,
                self._sums[index] / averaged_count(self._planned)
                if complete and index not in self._diverged
                else None,
                self._diverged.get(index),
            )
            for index, start in self._start.items()
        }
