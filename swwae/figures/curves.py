"""Training curves of runs, read from their logs (the paper's Figure A-2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from generator.errors import UserError
from generator.names import DECODER
from swwae.base import project
from swwae.base.project import ROOT
from swwae.engine.log import Log, Series, read_log
from swwae.figures import selection, style
from swwae.figures.style import FAINT, Mark
from swwae.images.database import Database
from swwae.images.preprocessing import Preprocessing
from swwae.nets import data_layers, network
from swwae.runs import folders
from swwae.runs.run import Run

TOTAL, CLASSIFICATION = "total", "classification"
"""Names of losses, as --loss takes them, beside those of the networks' blobs."""

POINTS = 100
"""Of a line of training losses, at most: more would hide the other runs' lines."""

FELL = 0.9
"""A learning rate below this share of the one before it has fallen by a step; a policy
that lowers it with every iteration is not marked."""


@dataclass(frozen=True)
class Curves:
    """The log of one run, and what the figure calls it.

    epoch: iterations in one epoch; None where that is unknown.
    """

    label: str
    log: Log
    epoch: float | None


def collect(run_folders: Sequence[Path], stage: int | None) -> tuple[list[Curves], str]:
    """Reads the curves of one stage of each run (None: of the last that was started).

    Returns them, and a title: networks, and the stage where it is one. What cannot be
    drawn is named on stderr. Raises UserError where nothing is left.
    """
    runs = selection.runs_to_draw(run_folders, lambda run: logged_stage(run, stage))
    curves = []
    for run, label in zip(runs, selection.labels(runs, runs[0].stage), strict=True):
        try:
            curves.append(read(run, label))
        except UserError as error:
            selection.leave_out(error)
    if not curves:
        raise UserError("none of these runs has curves.")
    nets = selection.nets_of(runs)
    same_stage = len({run.stage for run in runs}) == 1
    return curves, f"{nets}, stage {runs[0].stage}" if same_stage else nets


def logged_stage(folder: Path, stage: int | None) -> Run:
    """Returns a run's stage (None: the last that was started) that has a log.

    A stage's own folder stands for that stage. Later ones whose log is gone are named
    on stderr. Raises UserError where there is none.
    """
    started = folders.stages_in(folder)
    named = folders.folder_parts(folder).stage
    if stage is not None and named not in (None, stage):
        raise UserError(f"{project.relative(folder)} is not of --stage {stage}.")
    wanted = named if stage is None else stage
    training = [run for run in started if run.stage != 1]
    candidates = [run for run in training if wanted in (None, run.stage)]
    logged = [run for run in candidates if run.log.is_file()]
    if not logged:
        what = "no stage of it" if wanted is None else f"no stage {wanted} of it"
        raise UserError(f"{project.relative(folder)}: {what} has left a training log.")
    for run in candidates[candidates.index(logged[-1]) + 1 :]:
        selection.leave_out(f"{run.title}: there is no {project.relative(run.log)}.")
    return logged[-1]


def read(run: Run, label: str) -> Curves:
    """Reads a run's curves; the label of one that has not finished says so.

    Raises UserError where nothing is logged yet, or the log cannot be read.
    """
    try:
        log = read_log(run.log)
    except OSError as error:
        raise UserError(f"{project.relative(run.log)}: {error.strerror}.") from error
    if not log.loss[0].size and not log.test:
        raise UserError(f"{run.title}: no iteration has been logged yet.")
    status = run.status()
    if status["state"] != "finished":
        reached = max(
            iterations[-1]
            for iterations, _ in (log.loss, *log.test.values())
            if iterations.size
        )
        at = f"{status['state']} at iteration {reached:,}"
        selection.leave_out(f"the rest of {run.title}, which is {at}.")
        label += f", {at}"
    return Curves(label, log, iterations_in_epoch(run))


def iterations_in_epoch(run: Run) -> float | None:
    """Returns in how many iterations a stage sees as many images as it trains on.

    None where its network, solver or LMDB is gone, or it reads several LMDBs.
    """
    try:
        net = network.read(run.network)
        solver = network.read_solver(run.effective_solver)
        layers = [
            layer
            for layer in filter(data_layers.in_training, net.layer)
            if layer.type in data_layers.DATA
        ]
        if len(layers) != 1 or not layers[0].data_param.source:
            return None
        path = ROOT / layers[0].data_param.source
        images = len(Database(path, Preprocessing((1, 1, 1), (0.0,))))
    except UserError:
        return None
    batch = (data_layers.batch_size(net) or 0) * solver.iter_size * _gpus(run)
    return images / batch if batch else None


def _gpus(run: Run) -> int:
    """Returns on how many GPUs a run was trained, each of which reads a batch; 1 for
    the CPU."""
    device = run.status().get("device")
    used = re.match(r"GPU (\d+(?:, \d+)*)", str(device))
    return len(used[1].split(",")) if used else 1


def loss_names(curves: Sequence[Curves], wanted: Sequence[str] | None) -> list[str]:
    """Returns the names of the losses to draw, the total first.

    wanted: names, CLASSIFICATION for all that are no decoder's; None: every loss.
    Raises UserError for a name that no run has.
    """
    every = dict.fromkeys(name for c in curves for name in c.log.weights)
    classification = [name for name in every if not name.startswith(DECODER)]
    names = [*classification, *(name for name in every if name.startswith(DECODER))]
    if any(curve.log.loss[0].size for curve in curves):
        names.insert(0, TOTAL)
    if wanted is None:
        return names
    chosen: list[str] = []
    for name in wanted:
        if name not in (CLASSIFICATION, *names):
            raise UserError(
                f"--loss {name}: no run has it; there are {', '.join(names)}, and"
                f" {CLASSIFICATION} for those that are no decoder's."
            )
        chosen += classification if name == CLASSIFICATION else [name]
    return list(dict.fromkeys(chosen))


def accuracies(curves: Sequence[Curves]) -> list[str]:
    """Returns the test outputs that are neither losses nor a decoder's: Accuracy
    layers' tops."""
    names = dict.fromkeys(name for curve in curves for name in curve.log.test)
    losses = {name for curve in curves for name in curve.log.weights}
    return [n for n in names if n not in losses and not n.startswith(DECODER)]


def last_values(curves: Curves) -> str:
    """Returns the last value of every curve of a run, and its iteration, as a line."""
    values = {TOTAL: curves.log.loss, **curves.log.test}
    return ", ".join(
        f"{name} {style.short(series[1][-1])} at {series[0][-1]:,}"
        for name, series in values.items()
        if series[0].size
    )


@style.style()
def draw(
    curves: Sequence[Curves], losses: Sequence[str], title: str, epochs: bool
) -> Figure:
    """Draws a panel for every accuracy and every loss, all runs in each.

    losses: names, as of `loss_names`. epochs: whether the horizontal axes count epochs;
    iterations otherwise.
    """
    tested = accuracies(curves)
    panels = style.panels(len(tested) + len(losses), (3.3, 2.5))
    figure = panels[0].figure
    figure.suptitle(title, fontsize=style.FONT)
    marks = style.marks(len(curves))
    across = "epoch" if epochs else "iteration"
    for axes, name in zip(panels, (*tested, *losses), strict=True):
        axes.set(title=_panel_title(name, name in tested), xlabel=across)
        for mark, curve in zip(marks, curves, strict=True):
            scale = 1 / curve.epoch if epochs else 1.0
            test = curve.log.test.get(name)
            if name in tested:
                _plot(axes, mark, test, scale, 100, mark.marker)
                continue
            train = curve.log.loss if name == TOTAL else curve.log.train.get(name)
            _plot(axes, mark, train and averaged(train), scale)
            _plot(axes, mark, test, scale, 1, mark.marker, line="none")
        if name not in tested and _positive(axes):
            style.log_scale(axes, "y")
        for mark, curve in zip(marks, curves, strict=True):
            _rate_drops(axes, mark, curve, 1 / curve.epoch if epochs else 1.0)
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    _legend(figure, marks, curves)
    return figure


def _legend(figure: Figure, marks: Sequence[Mark], curves: Sequence[Curves]) -> None:
    """Adds every run's line and marker below the panels, and what the lines mean."""
    handles = [
        Line2D([], [], color=m.color, linestyle=m.line, marker=m.marker, label=c.label)
        for m, c in zip(marks, curves, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(3, len(handles)),
        handlelength=3.5,
        frameon=False,
        title=_caption(curves),
    )


def averaged(series: Series) -> Series:
    """Returns a series of POINTS at most: means over groups of neighbours, at the means
    of their iterations."""
    size = group_size(series)
    starts = np.arange(0, len(series[0]), size)
    counts = np.diff(np.append(starts, len(series[0])))
    sums = (np.add.reduceat(values.astype(float), starts) for values in series)
    iterations, values = (total / counts for total in sums)
    return iterations, values


def group_size(series: Series) -> int:
    """Returns over how many neighbours `averaged` takes a mean."""
    return max(1, ceil(len(series[0]) / POINTS))


def _caption(curves: Sequence[Curves]) -> str:
    most = max(group_size(curve.log.loss) for curve in curves)
    means = f" (means of up to {most} logged losses)" if most > 1 else ""
    return (
        f"lines of losses: training batches{means}; markers: test images; faint"
        " vertical lines: the learning rate fell"
    )


def _panel_title(name: str, tested: bool) -> str:
    if tested:
        return f"validation {name}, %"
    if name == TOTAL:
        return "total loss, weighted"
    return name if name.startswith(DECODER) else f"classification ({name})"


def _plot(
    axes: Axes,
    mark: Mark,
    series: Series | None,
    scale: float,
    factor: float = 1,
    marker: str | None = None,
    line: str | None = None,
) -> None:
    if series is not None:
        axes.plot(
            series[0] * scale,
            series[1] * factor,
            color=mark.color,
            linestyle=line or mark.line,
            marker=marker,
            markeredgecolor="white",
            markeredgewidth=0.6,
            markersize=6,
            zorder=3 if marker else 2,
        )


def _positive(axes: Axes) -> bool:
    """Tells whether there is anything that a logarithmic axis can show."""
    return any(np.any(np.nan_to_num(line.get_ydata()) > 0) for line in axes.lines)


def _rate_drops(axes: Axes, mark: Mark, curve: Curves, scale: float) -> None:
    iterations, rates = curve.log.learning_rate
    steps = iterations[1:][rates[1:] < FELL * rates[:-1]]
    for iteration in steps:
        axes.axvline(
            iteration * scale, color=FAINT, linestyle=mark.line, linewidth=0.8, zorder=1
        )
