"""Errors of tools/reproduce.py as a figure: of every model (the paper's Table 1), or by
the number of labels."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from generator.errors import UserError
from swwae.base.project import relative
from swwae.experiments.tables import CONTROL
from swwae.figures import style

SCHEME = "single-crop"

DECODER_STAGE = 3
"""The stage that leaves the classifier as it was: its rows are of reconstructions."""

SPLITS = {"val": "validation", "train": "training"}

TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "net": (str,),
    "stage": (int,),
    "training_seed": (int,),
    "labels": (int, type(None)),
    "depth": (int, type(None)),
    "scheme": (str,),
    "split": (str,),
    "top1_error": (int, float, type(None)),
}
"""What a row has at least, and of what types."""


@dataclass
class Seeds:
    """Top-1 errors in percent by training seed, and the depths of their rows."""

    errors: dict[int, float] = field(default_factory=dict)
    depths: dict[int, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Returns the mean over the seeds, in percent."""
        return float(np.mean(list(self.errors.values())))

    @property
    def deviation(self) -> float | None:
        """Returns the sample's standard deviation; None of a single seed."""
        values = list(self.errors.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def read(path: Path) -> list[dict]:
    """Reads the rows of a file of tools/reproduce.py.

    Raises UserError where it holds none, or one lacks what TYPES names.
    """
    hint = "it is written by tools/reproduce.sh."
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{relative(path)} cannot be read: {error.strerror}; {hint}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{relative(path)} is no JSON file: {error}; {hint}") from error
    rows = value.get("rows") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{relative(path)} has no list of 'rows'; {hint}")
    for place, row in enumerate(rows):
        for key, types in TYPES.items():
            if not isinstance(row, dict) or not _has_type(row.get(key, ...), types):
                raise UserError(
                    f"{relative(path)}: row {place} has no '{key}' as expected; {hint}"
                )
    return rows


def _has_type(value: Any, types: tuple[type, ...]) -> bool:
    """Tells whether a JSON value is of one of the types; inf and nan are of none."""
    if isinstance(value, float) and not isfinite(value):
        return False
    return isinstance(value, types) and not isinstance(value, bool)


Key = tuple[str, str, int | None]
"""Model, split, number of labels (None: all)."""

Results = dict[Key, Seeds]


def by_model(rows: Iterable[dict]) -> Results:
    """Returns the errors by model, split and number of labels, in the rows' order.

    Of a model's rows at several depths, the deepest counts: classification does not
    depend on where the decoder begins. Raises UserError where two rows say two things.
    """
    results: Results = {}
    for row in rows:
        if row["scheme"] != SCHEME or row["stage"] == DECODER_STAGE:
            continue
        if row["top1_error"] is None:  # not measured yet
            continue
        key = row["model"], row["split"], row["labels"]
        seeds = results.setdefault(key, Seeds())
        seed, error, depth = row["training_seed"], row["top1_error"], row["depth"] or 0
        before = seeds.depths.get(seed, -1)
        if depth == before and error != seeds.errors[seed]:
            raise UserError(
                f"{key[0]}, {key[1]}, seed {seed}: two rows say {seeds.errors[seed]} %"
                f" and {error} %; one of them is of another experiment."
            )
        if depth > before:
            seeds.errors[seed], seeds.depths[seed] = float(error), depth
    return results


def select(rows: list[dict], few_labels: bool, net: str | None) -> list[dict]:
    """Returns the rows with few labels, or those with all, of one network.

    Of rows with few labels all are taken, unless a network is chosen: each number of
    labels may have a network of its own name. Raises UserError where there are several
    networks to choose from, or not the chosen one.
    """
    rows = [row for row in rows if (row["labels"] is not None) == few_labels]
    nets = list(dict.fromkeys(row["net"] for row in rows))
    if net is None and few_labels:
        return rows
    if net is None and len(nets) > 1:
        raise UserError(f"the results are of {', '.join(nets)}: choose with --net.")
    if net is not None and nets and net not in nets:
        raise UserError(f"--net {net}: the results are of {', '.join(nets)}.")
    return [row for row in rows if net in (None, row["net"])]


@style.style()
def draw_table(rows: list[dict], start: float = 0) -> Figure:
    """Draws the top-1 error in percent by model as bars, validation beside training.

    Models are in the rows' order, trained with all labels. start: where the axis of
    errors begins; the axis says so, unless it is 0. Raises UserError where there is no
    such row, or a bar would end before it starts.
    """
    results = {key: s for key, s in by_model(rows).items() if key[2] is None}
    models = list(dict.fromkeys(model for model, _, _ in results))
    splits = [s for s in SPLITS if any(split == s for _, split, _ in results)]
    if not splits:
        raise UserError(
            f"no row is of the {SCHEME} scheme and all labels, train or val."
        )
    lowest = min(min(seeds.errors.values()) for seeds in results.values())
    if start >= lowest:
        raise UserError(f"--start {start:g}: the lowest error is {lowest:.2f} %.")
    (axes,) = style.panels(1, (max(4.5, 1.05 * len(models) + 1), 3.6))
    width = 0.8 / len(splits)
    for place, (split, mark) in enumerate(
        zip(splits, style.marks(len(splits)), strict=True)
    ):
        shown = [m for m in models if (m, split, None) in results]
        across = np.array([models.index(m) for m in shown])
        across = across + (place - (len(splits) - 1) / 2) * width
        seeds = [results[m, split, None] for m in shown]
        axes.bar(
            across,
            [s.mean - start for s in seeds],
            width,
            bottom=start,
            label=SPLITS[split],
            **mark.fill,
        )
        for x, bar_seeds in zip(across, seeds, strict=True):
            _draw_seeds(axes, x, width, bar_seeds)
    axes.set_xticks(range(len(models)), [_two_lines(model) for model in models])
    axes.grid(False, axis="x")
    axes.set_ylabel("top-1 error, %" + (f" (from {start:g} %)" if start else ""))
    axes.set_ylim(start, axes.get_ylim()[1])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_title(_title(rows, results.values()))
    return axes.figure


def _draw_seeds(axes: Axes, x: float, width: float, seeds: Seeds) -> None:
    """Draws the whiskers, the dots and the number of one bar."""
    errors = sorted(seeds.errors.values())
    deviation = seeds.deviation
    if deviation is not None:
        axes.errorbar(x, seeds.mean, deviation, color="black", capsize=3, linewidth=1)
    beside = np.full(len(errors), x + 0.22 * width)
    axes.plot(
        beside,
        errors,
        "o",
        markersize=3.5,
        markerfacecolor="white",
        markeredgecolor="black",
        linestyle="none",
        gid="seeds",
    )
    top = max(errors[-1], seeds.mean + (deviation or 0))
    axes.annotate(
        f"{seeds.mean:.2f}",
        (x, top),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=style.SMALL_FONT,
    )


def _two_lines(model: str) -> str:
    """Breaks a model's name into two lines: after its comma, else after its hyphen."""
    for separator in (", ", "-"):
        if separator in model:
            first, _, rest = model.partition(separator)
            return f"{first}{separator.strip()}\n{rest}"
    return model


@style.style()
def draw_labels(rows: list[dict]) -> Figure:
    """Draws the top-1 validation error in percent by the number of labels, a line a
    model.

    Where there is the finetuned baseline, a second panel shows the others' errors less
    the baseline's of the same seed: seeds keep the labels of different images, and so
    differ more than models do. Raises UserError where no row has a number of labels.
    """
    results = {
        key: seeds
        for key, seeds in by_model(rows).items()
        if key[2] is not None and key[1] == "val"
    }
    if not results:
        raise UserError("no row is of few labels, val and the single-crop scheme.")
    models = list(dict.fromkeys(model for model, _, _ in results))
    marks = dict(zip(models, style.marks(len(models)), strict=True))
    differences = _differences(results, CONTROL)
    errors, *compared = style.panels(2 if differences else 1, (5.5, 3.6))
    errors.set(xlabel="labelled images", ylabel="top-1 validation error, %")
    _draw_lines(errors, results, marks)
    errors.set_ylim(bottom=0)
    errors.legend()
    errors.set_title(_title(rows, results.values()))
    for axes in compared:
        axes.set(xlabel="labelled images", ylabel="points")
        axes.axhline(0, color=marks[CONTROL].color, linestyle=marks[CONTROL].line)
        _draw_lines(axes, differences, marks)
        axes.set_title(f"less the error of {CONTROL}, of the same seed")
    return errors.figure


def _differences(results: Results, control: str) -> Results:
    """Returns the models' errors less the control's of the same split, labels and seed,
    for the seeds that both have."""
    differences: Results = {}
    for (model, *place), seeds in results.items():
        other = results.get((control, *place))
        if model == control or other is None:
            continue
        errors = {
            seed: error - other.errors[seed]
            for seed, error in seeds.errors.items()
            if seed in other.errors
        }
        if errors:
            differences[(model, *place)] = Seeds(errors)
    return differences


def _draw_lines(axes: Axes, results: Results, marks: Mapping[str, style.Mark]) -> None:
    """Draws a line a model over numbers of labels, every seed as a dash."""
    style.log_scale(axes, "x")
    counts = sorted({count for _, _, count in results})
    for place, (model, mark) in enumerate(marks.items()):
        measured = [count for count in counts if (model, "val", count) in results]
        if not measured:
            continue
        seeds = [results[model, "val", count] for count in measured]
        # side by side, so that no whisker hides another
        across = np.array(measured) * 1.03 ** (place - (len(marks) - 1) / 2)
        axes.errorbar(
            across,
            [s.mean for s in seeds],
            [s.deviation or 0 for s in seeds],
            color=mark.color,
            linestyle=mark.line,
            marker=mark.marker,
            capsize=3,
            label=model,
        )
        for x, point_seeds in zip(across, seeds, strict=True):
            errors = list(point_seeds.errors.values())
            axes.plot([x] * len(errors), errors, "_", color=mark.color, gid="seeds")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _title(rows: list[dict], results: Iterable[Seeds]) -> str:
    """Returns the network, where it is one, and of how many seeds the figure is."""
    numbers = sorted({len(seeds.errors) for seeds in results})
    seeds = " to ".join(dict.fromkeys((str(numbers[0]), str(numbers[-1]))))
    nets = dict.fromkeys(row["net"] for row in rows)
    net = f"{next(iter(nets))}, " if len(nets) == 1 else ""
    if numbers[-1] == 1:
        return f"{net}{SCHEME}, one seed"
    return f"{net}{SCHEME}; mean and standard deviation of {seeds} seeds"
