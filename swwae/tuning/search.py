"""Searches stage 2's learning rates: trains with every factor of a grid, several at a
time, and extends the grid where the best factor is at its end.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.project import relative
from swwae.engine.trial import Trial
from swwae.tuning.grid import Grid, untried_factors
from swwae.tuning.journal import Journal
from swwae.tuning.losses import LossRecord, averaged_count
from swwae.tuning.points import Point, smallest_diverged

INTERVAL = 0.2
"""Seconds between two reports to the observer, at most."""


@dataclass(frozen=True)
class TrialSettings:
    """What the trainings of a search have in common.

    solver: stage 2's; net_path: of its network; source: the weights all start from;
    seed: of Caffe's random numbers; threads: of each; gpus: their numbers, which the
    jobs take in turn, none for the CPU.
    """

    solver: caffe_pb2.SolverParameter
    net_path: Path
    source: Path
    seed: int
    threads: int
    gpus: Sequence[int] = ()

    def trial(self, factor: float, iterations: int, stem: Path, job: int) -> Trial:
        """Returns a training with every learning rate multiplied by a factor.

        stem: of its files. job: which of those that run at the same time it is, from
        0. With a factor of 0 nothing is learnt.
        """
        solver = caffe_pb2.SolverParameter()
        solver.CopyFrom(self.solver)
        solver.net = relative(self.net_path)
        solver.base_lr = self.solver.base_lr * factor
        solver.max_iter = iterations
        solver.random_seed = self.seed
        gpu = self.gpus[job % len(self.gpus)] if self.gpus else None
        return Trial(solver, self.source, stem, self.threads, gpu)


@dataclass
class RunningTrial:
    """A point that is being tried."""

    factor: float
    job: int
    trial: Trial
    losses: LossRecord


class SearchObserver:
    """Is told how far a search has come; this one does nothing with it."""

    def measured_initial_losses(self, done: int, total: int) -> None:
        """Is told of batches of images, before the first point."""

    def finished(self, point: Point, beyond_grid: bool) -> None:
        """Is told that a point is known. beyond_grid: it is not of the grid that was
        asked for."""

    def progressed(self, running: Sequence[RunningTrial], waiting: int) -> None:
        """Is called every INTERVAL. waiting: points that have not begun."""


@dataclass
class Searcher:
    """Tries the points of a grid.

    iterations: of a training; blobs: macro-layer -> the blob of its loss; jobs:
    trainings at a time.
    """

    grid: Grid
    journal: Journal
    iterations: int
    blobs: Mapping[int, str]
    settings: TrialSettings
    jobs: int = 1
    observer: SearchObserver = field(default_factory=SearchObserver)

    def run(self, points: dict[float, Point]) -> None:
        """Adds what is missing to `points`, and to the journal as soon as it is known.

        Whatever is raised, the trainings are ended first. Raises UserError as
        `Trial.losses` does, and where a loss is no number above 0 before any update.
        """
        start = self.journal.read_initial_losses() or self._measure_initial_losses()
        running: dict[Future[Point], RunningTrial] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while True:
                    waiting = self._launch(pool, points, running, start)
                    if not running:
                        return
                    done, _ = wait(running, INTERVAL, FIRST_COMPLETED)
                    for future in done:
                        del running[future]
                        self._record(future.result(), points)
                    self.observer.progressed(list(running.values()), waiting)
            except BaseException:
                for trial in running.values():
                    trial.trial.stop()
                raise

    def _measure_initial_losses(self) -> dict[int, float]:
        """Returns every macro-layer's loss as the weights are, which the journal
        keeps."""
        count = averaged_count(self.iterations)
        sums = dict.fromkeys(self.blobs, 0.0)
        trial = self.settings.trial(0.0, count, self.journal.stem(0.0), 0)
        for done, losses in enumerate(trial.losses(), start=1):
            self.observer.measured_initial_losses(done, count)
            for index, blob in self.blobs.items():
                sums[index] += losses[blob]
        start = {index: total / count for index, total in sums.items()}
        for index, loss in start.items():
            if not 0 < loss < math.inf:
                raise UserError(
                    f"the loss of macro-layer {index} is {loss} before any update, and"
                    " no rate can lower it; give other weights with --weights FILE."
                )
        self.journal.write_initial_losses(start)
        return start

    def _launch(
        self,
        pool: ThreadPoolExecutor,
        points: Mapping[float, Point],
        running: dict[Future[Point], RunningTrial],
        start: Mapping[int, float],
    ) -> int:
        """Begins as many trainings as there are free jobs; returns how many points
        wait for one.

        The grid is extended only when nothing runs any more: what runs may say that
        it need not be.
        """
        untried, extends_grid = untried_factors(self.grid, points, self.blobs)
        begun = {trial.factor for trial in running.values()}
        untried = [factor for factor in untried if factor not in begun]
        if extends_grid and running:
            return len(untried)
        free = self.jobs - len(running)
        for factor in untried[:free]:
            trial = self._prepare(factor, points, running.values(), start)
            running[pool.submit(self._train, trial)] = trial
        return len(untried[free:])

    def _prepare(
        self,
        factor: float,
        points: Mapping[float, Point],
        running: Iterable[RunningTrial],
        start: Mapping[int, float],
    ) -> RunningTrial:
        taken = {trial.job for trial in running}
        job = next(job for job in range(self.jobs) if job not in taken)
        watched = [
            index
            for index in self.blobs
            if factor < smallest_diverged(points.values(), index)
        ]
        stem = self.journal.stem(factor)
        return RunningTrial(
            factor,
            job,
            self.settings.trial(factor, self.iterations, stem, job),
            LossRecord(self.iterations, start, watched),
        )

    def _train(self, running: RunningTrial) -> Point:
        """Trains with a factor, until all macro-layers that matter have diverged."""
        began = monotonic()
        record = running.losses
        trajectory = running.trial.losses()
        try:
            for losses in trajectory:
                record.add({i: losses[blob] for i, blob in self.blobs.items()})
                if record.all_diverged:
                    break
        finally:
            trajectory.close()
        seconds = round(monotonic() - began, 2)
        return Point(running.factor, record.iterations, seconds, record.results())

    def _record(self, point: Point, points: dict[float, Point]) -> None:
        self.journal.write_point(point)
        points[point.factor] = point
        self.observer.finished(point, point.factor not in self.grid.factors())
