"""The search of stage 2's learning rates: what is tried, what it says, what is kept.

A point of the grid multiplies every macro-layer's present rate by one factor. As the
encoder is fixed and every macro-layer has a decoder of its own, one training tests the
factor for all of them at once, and one that diverges does not touch the others.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import RUNS, relative
from swwae.engine.trial import Trial
from swwae.runs.run import Run
from swwae.stages import changes
from swwae.stages.status import file_record

DIVERGED = 10
"""A macro-layer has diverged where its loss is no number, or so many times what it was
before the first update (ours)."""


LAST = 0.05
"""The share of the iterations over which losses are averaged, at the start and at the
end (ours): the images of one batch are harder than another's."""


EXTENSION = 2
"""Decades by which the grid is extended at each end, at most (ours)."""


SETTINGS, START = "search.json", "start.json"


@dataclass(frozen=True)
class Search(Run):
    """A search of stage 2's rates: of that stage, but in a folder of its own."""

    @property
    def title(self) -> str:
        return f"the search of learning rates for {self.place}"

    @property
    def folder(self) -> Path:
        return RUNS / self.place / "find_lr"

    @property
    def log(self) -> Path:
        return self.folder


@dataclass(frozen=True)
class Result:
    """What a macro-layer's loss did. start: without any update; end: the mean over the
    last iterations, None where it did not get there; diverged: the iteration at which
    it was found to have, None where it had not."""

    start: float
    end: float | None
    diverged: int | None

    @property
    def decrease(self) -> float | None:
        return None if self.end is None else self.start - self.end


@dataclass(frozen=True)
class Point:
    """A factor that was tried. results: by macro-layer; iterations: done."""

    factor: float
    iterations: int
    seconds: float
    results: Mapping[int, Result]


def averaged(iterations: int) -> int:
    """How many losses a mean is over."""
    return max(1, round(LAST * iterations))


class Losses:
    """Follows the losses of one training, of several macro-layers.

    watched: the macro-layers for whose sake it runs; it is over when all have diverged.
    """

    def __init__(
        self, iterations: int, start: Mapping[int, float], watched: Iterable[int]
    ) -> None:
        """start: macro-layer -> its loss without any update."""
        self._iterations = iterations
        self._start = start
        self._watched = set(watched)
        self._sums = dict.fromkeys(start, 0.0)
        self._diverged: dict[int, int] = {}
        self.done = 0

    def see(self, losses: Mapping[int, float]) -> None:
        """The losses before the next update, by macro-layer."""
        for index, loss in losses.items():
            if index in self._diverged:
                continue
            if not loss <= DIVERGED * self._start[index] or math.isinf(loss):
                self._diverged[index] = self.done
            elif self.done >= self._iterations - averaged(self._iterations):
                self._sums[index] += loss
        self.done += 1

    @property
    def over(self) -> bool:
        return self._watched <= self._diverged.keys()

    def results(self) -> dict[int, Result]:
        whole = self.done >= self._iterations
        return {
            index: Result(
                start,
                self._sums[index] / averaged(self._iterations)
                if whole and index not in self._diverged
                else None,
                self._diverged.get(index),
            )
            for index, start in self._start.items()
        }


# --- what the points say


@dataclass(frozen=True)
class Choice:
    """What was found for a macro-layer, in factors of its present rate.

    best: of the largest decrease, None where no rate lowers the loss; highest: the
    last that did not diverge, None where all did; at_end: -1 or 1 where a smaller or a
    larger factor than were tried might be better, else 0.
    """

    best: float | None
    decrease: float
    start: float
    highest: float | None
    at_end: int


def choose(points: Iterable[Point], index: int) -> Choice:
    """The choice for a macro-layer among points, one at least.

    Factors above the smallest that diverged are left out, whatever they did.
    """
    points = sorted(points, key=lambda point: point.factor)
    start = points[0].results[index].start
    limit = first_diverged(points, index)
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


def first_diverged(points: Iterable[Point], index: int) -> float:
    """The smallest factor at which a macro-layer diverged; infinite: at none."""
    return min(
        (p.factor for p in points if p.results[index].diverged is not None),
        default=math.inf,
    )


@dataclass(frozen=True)
class Grid:
    """Factors in a geometric series through 1. lowest, highest: where it ends."""

    lowest: float
    highest: float
    per_decade: int

    def factors(self) -> list[float]:
        return [
            self._factor(step)
            for step in range(self._step(self.lowest), self._step(self.highest) + 1)
        ]

    def next_to(self, factor: float, side: int) -> float | None:
        """The factor below (-1) or above (1); None where the grid goes no farther."""
        step = self._step(factor) + side
        most = EXTENSION * self.per_decade
        first, last = self._step(self.lowest) - most, self._step(self.highest) + most
        return self._factor(step) if first <= step <= last else None

    def _step(self, factor: float) -> int:
        return round(self.per_decade * math.log10(factor))

    def _factor(self, step: int) -> float:
        digits = 2 if self.per_decade < 10 else 3
        return float(f"{10 ** (step / self.per_decade):.{digits}g}")


def upcoming(
    grid: Grid, points: Mapping[float, Point], indices: Iterable[int]
) -> tuple[list[float], bool]:
    """The factors still to be tried, lowest first; and whether they extend the grid.

    Nothing is left to be tried where all macro-layers diverged at smaller factors.
    """
    indices = list(indices)
    limit = max(first_diverged(points.values(), index) for index in indices)
    left = [f for f in grid.factors() if f not in points and f < limit]
    if left or not points:
        return left, False
    more = set()
    for index in indices:
        side = choose(points.values(), index).at_end
        if side:
            end = max(points) if side > 0 else min(points)
            more.add(grid.next_to(end, side))
    return sorted(more - {None} - points.keys()), True


# --- what is kept


class Kept:
    """The points of a search in its folder: an interrupted one goes on from them."""

    def __init__(
        self,
        search: Search,
        iterations: int,
        seed: int,
        source: Path,
        indices: Iterable[int],
    ):
        """source: the weights it starts from; indices: of the macro-layers."""
        self._search = search
        self._indices = set(indices)
        self._settings = {
            "iterations": iterations,
            "seed": seed,
            "weights": file_record(source),
            **changes.made_with(search),
        }

    def read(self) -> dict[float, Point]:
        """Factor -> point. Raises UserError where they are of a search with other
        settings, or one is damaged."""
        path = self._search.folder / SETTINGS
        if not path.is_file():
            return {}
        before = _read_json(path)
        self._refuse_others(before)
        files = sorted(path.parent.glob("factor-*.json"))
        points = [_point(file, self._indices) for file in files]
        return {point.factor: point for point in points}

    def begin(self, points: Mapping[float, Point]) -> None:
        """Records the settings, once; clears the folder where no points are kept."""
        folder = self._search.folder
        if not points:
            for path in [*folder.glob("factor-*"), folder / START, folder / SETTINGS]:
                path.unlink(missing_ok=True)
        _write_json(folder / SETTINGS, self._settings)

    def read_start(self) -> dict[int, float] | None:
        """Macro-layer -> its loss without any update; None where it is not known."""
        path = self._search.folder / START
        if not path.is_file():
            return None
        try:
            start = {int(i): float(loss) for i, loss in _read_json(path).items()}
            _check_indices(start, self._indices)
        except (TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        return start

    def write_start(self, start: Mapping[int, float]) -> None:
        _write_json(self._search.folder / START, start)

    def write(self, point: Point) -> None:
        _write_json(self.place(point.factor).with_suffix(".json"), asdict(point))

    def place(self, factor: float) -> Path:
        """Of a point's files, without their suffix."""
        return self._search.folder / f"factor-{factor:g}".replace(".", "p")

    def _refuse_others(self, before: dict) -> None:
        faults = []
        for name, now in self._settings.items():
            then = before.get(name)
            if isinstance(now, dict) and isinstance(then, dict):
                if now["sha256"] != then.get("sha256"):
                    faults.append(f"with another content of {then.get('path')}")
            elif now != then:
                faults.append(f"with {name} {then}, not {now}")
        if faults:
            raise UserError(
                f"{relative(self._search.folder)} holds a search that was begun"
                f" {', '.join(faults)}; --force replaces it by a new one."
            )


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return content
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{relative(path)} is damaged ({error}); --force starts the search over."
    )


def _write_json(path: Path, content: dict) -> None:
    with whole_file(path, "w") as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.write("\n")


def _point(path: Path, indices: set[int]) -> Point:
    content = _read_json(path)
    try:
        results = {int(i): _result(r) for i, r in content["results"].items()}
        _check_indices(results, indices)
        return Point(
            float(content["factor"]),
            int(content["iterations"]),
            float(content["seconds"]),
            results,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _result(content: Mapping[str, float | None]) -> Result:
    end, diverged = content["end"], content["diverged"]
    return Result(
        float(content["start"]),
        None if end is None else float(end),
        None if diverged is None else int(diverged),
    )


def _check_indices(found: Mapping[int, object], wanted: set[int]) -> None:
    if found.keys() != wanted:
        raise ValueError(f"it is of the macro-layers {sorted(found)}")


# --- the search


@dataclass
class Running:
    """A point that is being tried."""

    factor: float
    job: int
    trial: Trial
    losses: Losses


@dataclass
class Watch:
    """What a search tells while it goes on; this one tells nothing."""

    def starting(self, done: int, total: int) -> None:
        """Iterations without any update, before the first point."""

    def finished(self, point: Point, beyond: bool) -> None:
        """A point is known; beyond: it is not of the grid that was asked for."""

    def tick(self, running: list[Running], left: int) -> None:
        """Now and then. left: points that have not begun."""


@dataclass
class Searcher:
    """Tries the points of a grid, several at once.

    trial: makes the training of a factor, given its iterations and the number of the
        job it is for; with a factor of 0 nothing is learnt.
    blobs: macro-layer -> the blob of its loss.
    """

    grid: Grid
    kept: Kept
    iterations: int
    blobs: Mapping[int, str]
    trial: Callable[[float, int, int], Trial]
    jobs: int = 1
    watch: Watch = field(default_factory=Watch)
    interval: float = 0.2  # seconds between ticks

    def run(self, points: dict[float, Point]) -> None:
        """Adds what is missing to `points`, keeping each as soon as it is finished.

        Whatever is raised, the trainings are ended first. Raises UserError as
        `Trial.losses` does.
        """
        start = self.kept.read_start() or self._start()
        running: dict[Future[Point], Running] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while True:
                    left, extends = upcoming(self.grid, points, self.blobs)
                    begun = {each.factor for each in running.values()}
                    left = [factor for factor in left if factor not in begun]
                    if not extends or not running:
                        free = self.jobs - len(running)
                        for factor in left[:free]:
                            one = self._begin(factor, points, running, start)
                            running[pool.submit(self._try, one)] = one
                        left = left[free:]
                    if not running:
                        return
                    done, _ = wait(running, self.interval, FIRST_COMPLETED)
                    for future in done:
                        del running[future]
                        point = future.result()
                        self.kept.write(point)
                        points[point.factor] = point
                        beyond = point.factor not in self.grid.factors()
                        self.watch.finished(point, beyond)
                    self.watch.tick(list(running.values()), len(left))
            except BaseException:
                for each in running.values():
                    each.trial.stop()
                raise

    def _begin(
        self,
        factor: float,
        points: Mapping[float, Point],
        running: Mapping[Future[Point], Running],
        start: Mapping[int, float],
    ) -> Running:
        taken = {each.job for each in running.values()}
        job = next(job for job in range(self.jobs) if job not in taken)
        watched = [
            index
            for index in self.blobs
            if factor < first_diverged(points.values(), index)
        ]
        losses = Losses(self.iterations, start, watched)
        trial = self.trial(factor, self.iterations, job)
        return Running(factor, job, trial, losses)

    def _start(self) -> dict[int, float]:
        """Every macro-layer's loss as the weights are, which is kept."""
        count = averaged(self.iterations)
        sums = dict.fromkeys(self.blobs, 0.0)
        for done, losses in enumerate(self.trial(0.0, count, 0).losses(), start=1):
            self.watch.starting(done, count)
            for index, blob in self.blobs.items():
                sums[index] += losses[blob]
        start = {index: total / count for index, total in sums.items()}
        for index, loss in start.items():
            if not 0 < loss < math.inf:
                raise UserError(
                    f"the loss of macro-layer {index} is {loss} before any update, and"
                    " no rate can lower it; give other weights with --weights FILE."
                )
        self.kept.write_start(start)
        return start

    def _try(self, one: Running) -> Point:
        start = monotonic()
        trajectory = one.trial.losses()
        try:
            for losses in trajectory:
                one.losses.see({i: losses[blob] for i, blob in self.blobs.items()})
                if one.losses.over:
                    break
        finally:
            trajectory.close()
        seconds = round(monotonic() - start, 2)
        results = one.losses.results()
        return Point(one.factor, one.losses.done, seconds, results)
