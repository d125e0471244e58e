"""Finds the learning rates of stage 2 by the rule of Table A-1.

For every macro-layer it is the rate with the largest decrease of the reconstruction
loss in the first 2000 iterations. The decrease is the mean loss without any update less
the mean over the last 5 % of the iterations, both over as many batches of training
images; all rates begin from the same weights and see the same images. A macro-layer has
diverged when its loss is no number, or ten times what it was. Rates above the smallest
that diverged are left out; where the best is at the end of the grid, it is extended.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.rates import FAMILIES, Figures
from swwae.base.arguments import at_least, gpu_list, number
from swwae.base.files import check_writable, require_file, whole_file
from swwae.base.progress import duration
from swwae.base.project import BUILD_COMMAND, CAFFE, ROOT, relative
from swwae.base.tables import columns, print_summary
from swwae.commands import options
from swwae.engine import devices
from swwae.engine.trial import Reconstruction, Trial, reconstructions
from swwae.nets import network
from swwae.stages.sources import (
    require_databases,
    require_network,
    require_source,
    source_weights,
    starting_layers,
)
from swwae.tuning import rates as rates_file
from swwae.tuning.search import (
    LAST,
    Choice,
    Grid,
    Kept,
    Point,
    Running,
    Search,
    Searcher,
    Watch,
    choose,
)

PROGRAM = "find_lr.py"


NOTHING_FOUND = 1


MOST_PER_DECADE = 100
"""Of a finer grid, three digits could not tell two rates apart."""


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.lowest > options.highest:
        parser.error("--from must not be larger than --to")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the trials, too
    search = Search(options.net, f"{options.family}-layerwise", 2)
    if not CAFFE.is_file():
        raise UserError(f"the patched Caffe is not built: run {BUILD_COMMAND}")
    for path in filter(None, (options.plot, options.json)):
        check_writable(path)
    rates_file.read(options.net)  # refuses what could not be written to in the end
    require_file(search.solver, "solver", search.generator_command)
    solver = network.read_solver(search.solver)
    net_path = ROOT / solver.net
    net = require_network(search, net_path)
    source = source_weights(search, options.weights)
    require_source(search, source)
    require_databases(net, net_path)
    starting_layers(search, net, net_path, source, chosen=options.weights is not None)
    grid = Grid(options.lowest, options.highest, options.per_decade)
    macro_layers = {decoder.index + 1: decoder for decoder in reconstructions(net)}
    kept = Kept(search, options.iterations, options.seed, source, macro_layers)
    gpus, device = devices.choose(CAFFE, options.gpu)
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)

    def trial(factor: float, iterations: int, job: int) -> Trial:
        return Trial(
            _solver(solver, net_path, factor, iterations, options.seed),
            source,
            kept.place(factor),
            threads,
            gpus[job % len(gpus)] if gpus else None,
        )

    points = {} if options.force else kept.read()
    announce(search, options, grid, points, source, device, threads)
    if options.dry_run:
        return 0
    with search.locked():
        kept.begin(points)
        searcher = Searcher(
            grid,
            kept,
            options.iterations,
            {index: decoder.blob for index, decoder in macro_layers.items()},
            trial,
            options.jobs,
            Told(options.iterations, options.jobs, macro_layers),
        )
        searcher.run(points)
    rates = {
        index: solver.base_lr * decoder.rate for index, decoder in macro_layers.items()
    }
    choices = {index: choose(points.values(), index) for index in macro_layers}
    print(table(macro_layers, rates, choices, grid))
    return conclude(options, points, macro_layers, rates, choices, source)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_arguments(
        parser, weights="start from this .caffemodel (default: stage 1)"
    )
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default=FAMILIES[0],
        help="whose layerwise decoders are trained (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations",
        type=at_least(2),
        default=2000,
        metavar="N",
        help="of each rate (default: 2000, the paper's)",
    )
    parser.add_argument(
        "--from",
        dest="lowest",
        type=_factor,
        default=0.01,
        metavar="X",
        help="the smallest rate, in present rates (default: 0.01)",
    )
    parser.add_argument(
        "--to",
        dest="highest",
        type=_factor,
        default=100.0,
        metavar="X",
        help="the largest, likewise (default: 100)",
    )
    parser.add_argument(
        "--per-decade",
        type=at_least(1, MOST_PER_DECADE),
        default=3,
        metavar="N",
        help="rates between one and ten times it, 100 at most (default: 3)",
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="rates that are tried at once, the cores divided among them",
    )
    parser.add_argument(
        "--gpu",
        type=gpu_list,
        metavar="LIST|all",
        help="such as 0 or 0,1, one for each job in turn (default: the first GPU)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the decreases"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and stop"
    )
    parser.add_argument(
        "--force", action="store_true", help="start over, without what was tried before"
    )
    return parser


_factor = number(lambda x: 1e-12 <= x <= 1e12, "factor from 1e-12 to 1e12")


def _solver(
    given: caffe_pb2.SolverParameter,
    net_path: Path,
    factor: float,
    iterations: int,
    seed: int,
) -> caffe_pb2.SolverParameter:
    """Stage 2's, with every rate multiplied."""
    solver = caffe_pb2.SolverParameter()
    solver.CopyFrom(given)
    solver.net = relative(net_path)
    solver.base_lr = given.base_lr * factor
    solver.max_iter = iterations
    solver.random_seed = seed
    return solver


# --- what is said


def announce(
    search: Search,
    options: argparse.Namespace,
    grid: Grid,
    points: Mapping[float, Point],
    source: Path,
    device: str,
    threads: int,
) -> None:
    """What will be done, before it is."""
    factors = grid.factors()
    known = f", {len(points)} known" if points else ""
    jobs = "one at a time"
    if options.jobs > 1:
        each = "one thread" if threads == 1 else f"{threads} threads"
        jobs = f"{options.jobs} at a time, {each} each"
    print_summary(
        f"{search.title}: {len(factors)} trainings of"
        f" {options.iterations:,} iterations at most{known}, {jobs}",
        [
            ("network", relative(search.network)),
            ("weights", relative(source)),
            ("rates", f"{factors[0]:g} to {factors[-1]:g} times the present ones"),
            ("device", device),
            ("kept in", relative(search.folder)),
        ],
    )


class Told(Watch):
    """A row a point, and below it how far those that are running have come."""

    def __init__(
        self,
        iterations: int,
        jobs: int,
        macro_layers: Mapping[int, Reconstruction],
        stream=sys.stdout,
    ) -> None:
        self._iterations = iterations
        self._jobs = jobs
        self._macro_layers = macro_layers
        self._stream = stream
        self._screen = stream.isatty()
        self._begin = self._said = monotonic()
        self._done = 0  # iterations, but of points that are running
        self._points = 0
        self._headed = False

    def starting(self, done: int, total: int) -> None:
        self._done = done
        if self._is_due():
            self._state(f"losses without any update: {done:,} of {total:,} batches")

    def finished(self, point: Point, beyond: bool) -> None:
        if not self._headed:
            self._headed = True
            names = [f"macro-layer {index}" for index in self._macro_layers]
            self._line("  ".join([f"{'rates':>10}", *(f"{n:>16}" for n in names)]))
        cells = [f"{_outcome(point, index):>16}" for index in self._macro_layers]
        note = "  (beyond the grid)" if beyond else ""
        self._line("  ".join([f"{f'x {point.factor:g}':>10}", *cells]) + note)
        self._done += point.iterations
        self._points += 1

    def tick(self, running: list[Running], left: int) -> None:
        if not running or not self._is_due():
            return
        current = sum(each.losses.done for each in running)
        ahead = (left + len(running)) * self._iterations - current
        text = ", ".join(
            f"x {each.factor:g}: {each.losses.done:,} of {self._iterations:,}"
            for each in running
        )
        if self._points:
            speed = (self._done + current) / (monotonic() - self._begin)
            text += f"; {left} more, {duration(ahead / speed)} left at most"
        self._state(text)

    def _is_due(self) -> bool:
        now = monotonic()
        due = now - self._said >= (0.2 if self._screen else 60)
        if due:
            self._said = now
        return due

    def _state(self, text: str) -> None:
        if self._screen:
            self._write(f"\r\x1b[K{text[:78]}")
        else:
            self._write(text + "\n")

    def _line(self, text: str) -> None:
        self._write(("\r\x1b[K" if self._screen else "") + text + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _outcome(point: Point, index: int) -> str:
    result = point.results[index]
    if result.diverged is not None:
        return f"diverged at {result.diverged}"
    if result.end is None:
        return "-"
    return f"{-100 * result.decrease / result.start:+.2f} %"


def table(
    macro_layers: Mapping[int, Reconstruction],
    rates: Mapping[int, float],
    choices: Mapping[int, Choice],
    grid: Grid,
) -> str:
    """What was found, a row a macro-layer, for a person."""
    rows = [
        ("macro-layer", "present rate", "best rate", "loss", "decrease", "highest"),
    ]
    notes = []
    for index, choice in choices.items():
        best = "none" if choice.best is None else f"{rates[index] * choice.best:.2g}"
        end = choice.start - choice.decrease
        highest = "none"
        if choice.highest is not None:
            highest = f"{rates[index] * choice.highest:.2g}"
        rows.append(
            (
                f"{index} {macro_layers[index].blob}",
                f"{rates[index]:.2g}",
                best,
                f"{choice.start:.4g} -> {end:.4g}",
                f"{choice.decrease:.4g}",
                highest,
            )
        )
        if choice.at_end:
            side = "smaller" if choice.at_end < 0 else "larger"
            notes.append(
                f"  macro-layer {index}: the best of {grid.lowest:g} to"
                f" {grid.highest:g} times the present rate and two decades more is"
                f" at the end; a {side} one may be better."
            )
    return "\n".join(["", columns(rows), "highest: that did not diverge", *notes])


# --- what is written


def conclude(
    options: argparse.Namespace,
    points: Mapping[float, Point],
    macro_layers: Mapping[int, Reconstruction],
    rates: Mapping[int, float],
    choices: Mapping[int, Choice],
    source: Path,
) -> int:
    """Plot, JSON, and rates.json where any rate lowers a loss."""
    command = rates_file.command(
        PROGRAM,
        {
            "net": options.net,
            "family": options.family,
            "weights": relative(source) if options.weights else None,
            "iterations": options.iterations,
            "from": f"{options.lowest:g}",
            "to": f"{options.highest:g}",
            "per-decade": options.per_decade,
            "seed": options.seed,
        },
    )
    if options.plot:
        plot(options, points.values(), macro_layers, rates, choices)
        print(f"drawn: {relative(options.plot)}")
    if options.json:
        with whole_file(options.json, "w") as file:
            content = as_json(options, command, points, macro_layers, rates, choices)
            json.dump(content, file, indent=2, allow_nan=False)
            file.write("\n")
    values = {
        index: _rounded(rates[index] * choice.best)
        for index, choice in choices.items()
        if choice.best is not None
    }
    missing = [str(index) for index in choices if index not in values]
    if missing:
        print(
            f"{PROGRAM}: no rate lowers the loss of macro-layer {', '.join(missing)};"
            " it keeps what it has",
            file=sys.stderr,
        )
    if not values:
        return NOTHING_FOUND
    figures = Figures(values, command, options.iterations)
    path = rates_file.write(options.net, layerwise_lr={options.family: figures})
    rates_file.tell(path, options.net, f"{options.family}-.*")
    return 0


def plot(
    options: argparse.Namespace,
    points: Iterable[Point],
    macro_layers: Mapping[int, Reconstruction],
    rates: Mapping[int, float],
    choices: Mapping[int, Choice],
) -> None:
    from swwae.tuning.plot import Curve, draw  # takes a second to import

    curves = {
        index: Curve(f"{index} {macro_layers[index].blob}", rates[index], choice)
        for index, choice in choices.items()
    }
    title = f"{options.net} {options.family}, {options.iterations:,} iterations"
    draw(curves, points, title, options.plot)


def as_json(
    options: argparse.Namespace,
    command: str,
    points: Mapping[float, Point],
    macro_layers: Mapping[int, Reconstruction],
    rates: Mapping[int, float],
    choices: Mapping[int, Choice],
) -> dict:
    """All that was found; null where there is no such number."""

    def rate(index: int, factor: float | None) -> float | None:
        return None if factor is None else _rounded(rates[index] * factor)

    return {
        "net": options.net,
        "family": options.family,
        "command": command,
        "iterations": options.iterations,
        "last_share": LAST,
        "macro_layers": [
            {
                "macro_layer": index,
                "loss": macro_layers[index].blob,
                "present_rate": _rounded(rates[index]),
                "best_rate": rate(index, choice.best),
                "start": choice.start,
                "decrease": choice.decrease,
                "highest_stable_rate": rate(index, choice.highest),
                "at_end_of_grid": bool(choice.at_end),
                "points": [
                    {"rate": rate(index, factor), "factor": factor}
                    | asdict(points[factor].results[index])
                    for factor in sorted(points)
                ],
            }
            for index, choice in choices.items()
        ],
    }


def _rounded(rate: float) -> float:
    """Three digits: a solver's float32 and the grid have no more to say."""
    return float(f"{rate:.3g}")
