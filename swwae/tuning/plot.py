"""Draws what a search of learning rates found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from swwae.figures import style
from swwae.figures.style import RING
from swwae.tuning.points import Choice, Point, smallest_diverged


@dataclass(frozen=True)
class Curve:
    """A macro-layer's: label, present rate, and what was chosen for it."""

    label: str
    rate: float
    choice: Choice


@style.style()
def draw(
    curves: Mapping[int, Curve], points: Iterable[Point], title: str, path: Path
) -> None:
    """Writes a picture: how far each macro-layer's loss fell, by its learning rate.

    curves: by macro-layer. What is left of the loss is drawn, downwards, so that the
    largest decreases can be told apart. Rings mark the choices, crosses the smallest
    rates that diverged. Raises UserError where the file cannot be written.
    """
    points = sorted(points, key=lambda point: point.factor)
    (axes,) = style.panels(1, (7, 4.4))
    axes.set(
        title=title,
        xlabel="learning rate of the macro-layer's decoder",
        ylabel="what is left of its loss, % (upwards: a larger decrease)",
    )
    style.log_scale(axes, "x")
    style.log_scale(axes, "y")
    axes.invert_yaxis()
    marks = style.marks(len(curves))
    for mark, (index, curve) in zip(marks, curves.items(), strict=True):
        _draw_curve(axes, mark, curve, points, index)
    axes.plot([], [], "ko", label="chosen", **RING)
    axes.plot([], [], "kx", label="diverged")
    axes.legend()
    style.save(axes.figure, path)


def _draw_curve(
    axes: Axes, mark: style.Mark, curve: Curve, points: Sequence[Point], index: int
) -> None:
    """Draws a macro-layer's, by its index, up to the smallest rate that diverged."""
    limit = smallest_diverged(points, index)
    rates, left = [], []
    for point in points:
        end = point.results[index].end
        if point.factor < limit and end is not None:
            rates.append(curve.rate * point.factor)
            left.append(100 * end / curve.choice.start)
    axes.plot(
        rates,
        left,
        mark.line,
        marker=mark.marker,
        color=mark.color,
        label=curve.label,
    )
    choice = curve.choice
    if choice.best is not None:
        rest = 100 * (1 - choice.decrease / choice.start)
        axes.plot(curve.rate * choice.best, rest, "o", color=mark.color, **RING)
    if limit < float("inf"):
        at_the_foot = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(curve.rate * limit, 0.03, "x", color=mark.color, **at_the_foot)
