"""Errors of tools/reproduce.py as a figure: of every model (the paper's Table 1), or by
the number of labels.

Bars and lines are means over the seeds, whiskers their standard deviation (of a sample:
divided by n - 1), dots the seeds. All of the single-crop scheme.
"""

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


PRETRAINED = 3
"""A stage that leaves the classifier as it was: its rows are of reconstructions."""


SPLITS = {"val": "validation", "train": "training"}


KINDS: dict[str, tuple[type, ...]] = {
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
    """Top-1 errors in percent, by training seed."""

    errors: dict[int, float] = field(default_factory=dict)
    depths: dict[int, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.errors.values())))

    @property
    def deviation(self) -> float | None:
        """The sample's standard deviation; None of a single seed."""
        values = list(self.errors.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def read(path: Path) -> list[dict]:
    """The rows of a file of tools/reproduce.py; UserError where it holds none."""
    made = "it is written by tools/reproduce.sh."
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{relative(path)} cannot be read: {error.strerror}; {made}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{relative(path)} is no JSON file: {error}; {made}") from error
    rows = value.get("rows") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{relative(path)} has no list of 'rows'; {made}")
    for place, row in enumerate(rows):
        for key, kinds in KINDS.items():
            if not isinstance(row, dict) or not _is(row.get(key, ...), kinds):
                raise UserError(
                    f"{relative(path)}: row {place} has no '{key}' as expected; {made}"
                )
    return rows


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, float) and not isfinite(value):
        return False
    return isinstance(value, kinds) and not isinstance(value, bool)


Key = tuple[str, str, int | None]
"""Model, split, number of labels (None: all)."""


Results = dict[Key, Seeds]


def by_model(rows: Iterable[dict]) -> Results:
    """The errors, in the rows' order.

    Of a model's rows at several depths, the deepest counts: classification does not
    depend on where the decoder begins. Raises UserError where two rows say two things.
    """
    found: Results = {}
    for row in rows:
        if row["scheme"] != SCHEME or row["stage"] == PRETRAINED:
            continue
        if row["top1_error"] is None:  # not measured yet
            continue
        key = row["model"], row["split"], row["labels"]
        seeds = found.setdefault(key, Seeds())
        seed, error, depth = row["training_seed"], row["top1_error"], row["depth"] or 0
        before = seeds.depths.get(seed, -1)
        if depth == before and error != seeds.errors[seed]:
            raise UserError(
                f"{key[0]}, {key[1]}, seed {seed}: two rows say {seeds.errors[seed]} %"
                f" and {error} %; one of them is of another experiment."
            )
        if depth > before:
            seeds.errors[seed], seeds.depths[seed] = float(error), depth
    return found


def of_net(rows: list[dict], net: str | None) -> list[dict]:
    """The rows of one network; UserError where there are several, or not that one.

    Of rows with few labels all are taken, unless one is chosen: each number of labels
    may have a network of its own name.
    """
    nets = list(dict.fromkeys(row["net"] for row in rows))
    if net is None and all(row["labels"] is not None for row in rows):
        return rows
    if net is None and len(nets) > 1:
        raise UserError(f"the results are of {', '.join(nets)}: choose with --net.")
    if net is not None and nets and net not in nets:
        raise UserError(f"--net {net}: the results are of {', '.join(nets)}.")
    return [row for row in rows if net in (None, row["net"])]


@style.style()
def draw_table(rows: list[dict], start: float = 0) -> Figure:
    """Bars of the top-1 error in percent by model, validation beside training.

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
        for x, of_seeds in zip(across, seeds, strict=True):
            _column(axes, x, width, of_seeds)
    axes.set_xticks(range(len(models)), [_two_lines(model) for model in models])
    axes.grid(False, axis="x")
    axes.set_ylabel("top-1 error, %" + (f" (from {start:g} %)" if start else ""))
    axes.set_ylim(start, axes.get_ylim()[1])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_title(_title(rows, results.values()))
    return axes.figure


def _column(axes: Axes, x: float, width: float, seeds: Seeds) -> None:
    """Whiskers, dots and the number of one bar."""
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
    """A model's name in two lines: after its comma, else its hyphen."""
    for sign in (", ", "-"):
        first, found, rest = model.partition(sign)
        if found:
            return f"{first}{found.strip()}\n{rest}"
    return model


@style.style()
def draw_labels(rows: list[dict]) -> Figure:
    """Top-1 validation error in percent by the number of labels, a line a model.

    Where there is the finetuned baseline, a second panel has what the others' errors
    are less its own, of each seed: seeds keep the labels of other images, and differ
    more than models do. Raises UserError where no row has a number of labels.
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
    differences = _less(results, CONTROL)
    errors, *compared = style.panels(2 if differences else 1, (5.5, 3.6))
    errors.set(xlabel="labelled images", ylabel="top-1 validation error, %")
    _by_labels(errors, results, marks)
    errors.set_ylim(bottom=0)
    errors.legend()
    errors.set_title(_title(rows, results.values()))
    for axes in compared:
        axes.set(xlabel="labelled images", ylabel="points")
        axes.axhline(0, color=marks[CONTROL].color, linestyle=marks[CONTROL].line)
        _by_labels(axes, differences, marks)
        axes.set_title(f"less the error of {CONTROL}, of the same seed")
    return errors.figure


def _less(results: Results, control: str) -> Results:
    """The models' errors less the control's of the same split, labels and seed; of
    seeds that both have."""
    found: Results = {}
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
            found[(model, *place)] = Seeds(errors)
    return found


def _by_labels(axes: Axes, results: Results, marks: Mapping[str, style.Mark]) -> None:
    """A line a model over numbers of labels; every seed is a dash beside its point."""
    style.log_scale(axes, "x")
    counts = sorted({count for _, _, count in results})
    for place, (model, mark) in enumerate(marks.items()):
        own = [count for count in counts if (model, "val", count) in results]
        if not own:
            continue
        seeds = [results[model, "val", count] for count in own]
        # side by side, so that no whisker hides another
        across = np.array(own) * 1.03 ** (place - (len(marks) - 1) / 2)
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
        for x, of_seeds in zip(across, seeds, strict=True):
            errors = list(of_seeds.errors.values())
            axes.plot([x] * len(errors), errors, "_", color=mark.color, gid="seeds")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _title(rows: list[dict], results: Iterable[Seeds]) -> str:
    """The network, where it is one, and of how many seeds the figure is."""
    numbers = sorted({len(seeds.errors) for seeds in results})
    seeds = " to ".join(dict.fromkeys((str(numbers[0]), str(numbers[-1]))))
    nets = dict.fromkeys(row["net"] for row in rows)
    net = f"{next(iter(nets))}, " if len(nets) == 1 else ""
    if numbers[-1] == 1:
        return f"{net}{SCHEME}, one seed"
    return f"{net}{SCHEME}; mean and standard deviation of {seeds} seeds"
