"""Draws what a search of learning rates found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from lr_search import Choice, Point, first_diverged  # noqa: E402
from matplotlib.ticker import ScalarFormatter  # noqa: E402
from wholefile import whole_file  # noqa: E402

LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X"
RING = {"markersize": 13, "fillstyle": "none", "markeredgewidth": 1.5}


@dataclass(frozen=True)
class Curve:
    """A macro-layer's: label, present rate, and what was chosen for it."""

    label: str
    rate: float
    choice: Choice


def draw(
    curves: Mapping[int, Curve], points: Iterable[Point], title: str, path: Path
) -> None:
    """Writes a PNG: how far each macro-layer's loss fell against its learning rate.

    curves: by macro-layer. What is left of the loss is drawn, downwards, so that the
    largest decreases can be told apart. Rings mark the choices, crosses the smallest
    rates that diverged. Raises UserError where the file cannot be written.
    """
    points = sorted(points, key=lambda point: point.factor)
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    axes.set(
        xscale="log",
        yscale="log",
        title=title,
        xlabel="learning rate of the macro-layer's decoder",
        ylabel="what is left of its loss, % (upwards: a larger decrease)",
    )
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.invert_yaxis()
    axes.grid(True, which="major", linewidth=0.4, color="0.8")
    for place, (index, curve) in enumerate(curves.items()):
        color = plt.get_cmap("viridis")(0.8 * place / max(1, len(curves) - 1))
        limit = first_diverged(points, index)
        rates, left = [], []
        for point in points:
            end = point.results[index].end
            if point.factor < limit and end is not None:
                rates.append(curve.rate * point.factor)
                left.append(100 * end / curve.choice.start)
        axes.plot(
            rates,
            left,
            LINES[place % len(LINES)],
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            color=color,
            label=curve.label,
        )
        if curve.choice.best is not None:
            rest = 100 * (1 - curve.choice.decrease / curve.choice.start)
            axes.plot(curve.rate * curve.choice.best, rest, "o", color=color, **RING)
        if limit < float("inf"):
            at_the_foot = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            axes.plot(curve.rate * limit, 0.03, "x", color=color, **at_the_foot)
    axes.plot([], [], "ko", label="chosen", **RING)
    axes.plot([], [], "kx", label="diverged")
    axes.legend(fontsize=8)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=150)
    plt.close(figure)
