"""What a search of learning rates shows: its plan, its points, how far it has come."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from swwae.base.progress import Display, duration
from swwae.base.project import relative
from swwae.base.tables import print_summary
from swwae.engine.trial import Reconstruction
from swwae.tuning.grid import Grid
from swwae.tuning.journal import RateSearch
from swwae.tuning.points import Point
from swwae.tuning.search import RunningTrial, SearchObserver, TrialSettings

SCREEN_INTERVAL, LINE_INTERVAL = 0.2, 60.0
"""Seconds between refreshes of a terminal, and between lines elsewhere."""


def print_plan(
    search: RateSearch,
    grid: Grid,
    iterations: int,
    known: int,
    jobs: int,
    settings: TrialSettings,
    device: str,
) -> None:
    """Prints what a search is about to do.

    iterations: of a training; known: points that need not be tried; jobs: trainings at
    a time; device: in words.
    """
    factors = grid.factors()
    already = f", {known} known" if known else ""
    at_a_time = "one at a time"
    if jobs > 1:
        threads = settings.threads
        computing = "one thread" if threads == 1 else f"{threads} threads"
        at_a_time = f"{jobs} at a time, {computing} each"
    print_summary(
        f"{search.title}: {len(factors)} trainings of"
        f" {iterations:,} iterations at most{already}, {at_a_time}",
        [
            ("network", relative(search.network)),
            ("weights", relative(settings.source)),
            ("rates", f"{factors[0]:g} to {factors[-1]:g} times the present ones"),
            ("device", device),
            ("kept in", relative(search.folder)),
        ],
    )


class SearchDisplay(SearchObserver):
    """Shows a row a point, and below it how far those that are running have come.

    Raises BrokenPipeError, which ends the search, where nobody reads it any more.
    """

    def __init__(
        self,
        iterations: int,
        macro_layers: Mapping[int, Reconstruction],
        stream: TextIO | None = None,
    ) -> None:
        """iterations: of a training. stream: stdout where it is None."""
        self._planned = iterations
        self._macro_layers = macro_layers
        self._display = Display(stream, SCREEN_INTERVAL, LINE_INTERVAL, at_once=False)
        self._iterations = 0  # that are done, but for those of points that are running
        self._points = 0

    @contextmanager
    def kept_at_the_end(self) -> Iterator["SearchDisplay"]:
        """Whatever ends the search, what is printed next has a line of its own."""
        try:
            yield self
        finally:
            self._display.keep()

    def measured_initial_losses(self, done: int, total: int) -> None:
        self._iterations = done
        if self._display.is_due():
            self._show(f"losses without any update: {done:,} of {total:,} batches")

    def finished(self, point: Point, beyond_grid: bool) -> None:
        if not self._points:
            names = [f"macro-layer {index}" for index in self._macro_layers]
            self._print_row("rates", names)
        changes = [describe_change(point, index) for index in self._macro_layers]
        remark = "  (beyond the grid)" if beyond_grid else ""
        self._print_row(f"x {point.factor:g}", changes, remark)
        self._iterations += point.iterations
        self._points += 1

    def progressed(self, running: Sequence[RunningTrial], waiting: int) -> None:
        if not running or not self._display.is_due():
            return
        text = ", ".join(
            f"x {trial.factor:g}: {trial.losses.iterations:,} of {self._planned:,}"
            for trial in running
        )
        if self._points:
            current = sum(trial.losses.iterations for trial in running)
            ahead = (waiting + len(running)) * self._planned - current
            spent = monotonic() - self._display.began
            speed = (self._iterations + current) / spent
            text += f"; {waiting} more, {duration(ahead / speed)} left at most"
        self._show(text)

    def _show(self, text: str) -> None:
        self._display.show(text)
        self._end_if_unread()

    def _print_row(self, name: str, cells: Sequence[str], remark: str = "") -> None:
        row = [f"{name:>10}", *(f"{cell:>16}" for cell in cells)]
        self._display.print_line("  ".join(row) + remark)
        self._end_if_unread()

    def _end_if_unread(self) -> None:
        if self._display.broken:
            raise BrokenPipeError


def describe_change(point: Point, index: int) -> str:
    """Returns what a training did to a macro-layer's loss, in a few characters: by how
    many percent it changed, or where it diverged."""
    result = point.results[index]
    if result.diverged is not None:
        return f"diverged at {result.diverged}"
    if result.end is None:
        return "-"
    return f"{-100 * result.decrease / result.start:+.2f} %"
