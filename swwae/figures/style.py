"""What the project's figures share: style, marks, axes, and how they are written.

Colours are of monotone lightness, and never alone: lines differ in dashes and markers,
bars in hatches, so that all is told apart in grey.
"""

import argparse
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator

from swwae.base.files import whole_file

FORMATS = (".png", ".svg")

PIXELS_PER_INCH = 150
MAX_PIXELS = 2**16 - 1  # what Agg can draw, each way

FONT, SMALL_FONT = 9, 8  # points

FAINT = "0.7"
"""The grey of what only guides the eye."""

STYLE = {
    "figure.dpi": PIXELS_PER_INCH,
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.fontsize": SMALL_FONT,
    "legend.title_fontsize": SMALL_FONT,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "xtick.labelsize": SMALL_FONT,
    "ytick.labelsize": SMALL_FONT,
    "text.parse_math": False,  # the name of a network may hold a $
    "svg.fonttype": "none",
    "svg.hashsalt": "figure",
}

RING = {"markersize": 13, "fillstyle": "none", "markeredgewidth": 1.5}
"""Of the marker around a point that was chosen."""

LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X"
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----")
"""What a Mark takes in turn."""


def style() -> AbstractContextManager:
    """Returns a context, which is a decorator too, in which figures look alike."""
    return matplotlib.rc_context(STYLE)


@dataclass(frozen=True)
class Mark:
    """How one of several runs or models is drawn: told apart in colour and in grey."""

    color: tuple[float, float, float, float]
    line: str
    marker: str
    hatch: str

    @property
    def fill(self) -> dict:
        """Returns a bar's colours and hatch: light enough for the hatch to be seen."""
        light = tuple(1 - 0.55 * (1 - part) for part in self.color[:3])
        return {"facecolor": light, "edgecolor": "black", "hatch": self.hatch}


def marks(count: int) -> list[Mark]:
    """Returns `count` marks, from dark to light."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.75, count))
    return [
        Mark(
            tuple(map(float, shade)),
            LINES[place % len(LINES)],
            MARKERS[place % len(MARKERS)],
            HATCHES[place % len(HATCHES)],
        )
        for place, shade in enumerate(shades)
    ]


def panels(count: int, size: tuple[float, float], most: int = 3) -> list[Axes]:
    """Returns the axes of a new figure, `most` in a row at most.

    size: width and height of one panel, in inches.
    """
    columns = min(count, most)
    rows = ceil(count / columns)
    figure = Figure(
        figsize=(columns * size[0], rows * size[1] + 0.7), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    return grid[:count]


class _PlainNumbers(LogFormatter):
    """Writes 0.01, 20, 1e+06 where LogFormatter would write a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_scale(axes: Axes, which: str) -> None:
    """Makes the axis "x" or "y" logarithmic; where it is short, values between the
    powers of ten are labelled, too."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(_PlainNumbers())
    axis.set_minor_locator(LogLocator(subs=(2, 3, 4, 5, 6, 7, 8, 9), numticks=8))
    axis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1.8, 0.6)))


def short(value: float) -> str:
    """Returns a number as figures and tables show it: four digits."""
    return f"{value:#.4g}".removesuffix(".")


# --- files


def picture_path(text: str) -> Path:
    """Returns the path of a figure's file: a `type` for argparse."""
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a .png nor an .svg, which a figure is written as"
        )
    return path


def save(figure: Figure, path: Path) -> None:
    """Writes a figure: as an SVG, whose text is text, or as a PNG, by the file's name.

    The same figure gives the same bytes. Raises UserError where the file cannot be
    written.
    """
    kind = "svg" if path.suffix.lower() == ".svg" else "png"
    dpi = figure.dpi
    metadata = None
    if kind == "svg":
        dpi, metadata = 72, {"Date": None}
    elif max(figure.get_size_inches()) * dpi > MAX_PIXELS:
        dpi = MAX_PIXELS / max(figure.get_size_inches())
    with whole_file(path) as file, style(), warnings.catch_warnings():
        # a user's names may hold characters that the font has not
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format=kind, dpi=dpi, metadata=metadata)
