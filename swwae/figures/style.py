"""What the project's figures share: style, marks, axes, and how they are written.

Colours are of monotone lightness, and never alone: lines differ in dashes and markers,
bars in hatches, so that all is told apart in grey.
"""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.runs.run import Run

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


Result = TypeVar("Result")


def style() -> AbstractContextManager:
    """Makes what is drawn within it look alike; a decorator, too."""
    return matplotlib.rc_context(STYLE)


@dataclass(frozen=True)
class Mark:
    """How one of several things of a kind is drawn."""

    color: tuple[float, float, float, float]
    line: str
    marker: str
    hatch: str

    @property
    def fill(self) -> dict:
        """Of a bar: light enough for its hatch."""
        light = tuple(1 - 0.55 * (1 - part) for part in self.color[:3])
        return {"facecolor": light, "edgecolor": "black", "hatch": self.hatch}


LINES = ("-", "--", "-.", ":")


MARKERS = "osD^vP*X"


HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----")


def marks(count: int) -> list[Mark]:
    """`count` marks, from dark to light."""
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
    """The axes of a new figure, `most` in a row at most; size: of one, in inches."""
    columns = min(count, most)
    rows = ceil(count / columns)
    figure = Figure(
        figsize=(columns * size[0], rows * size[1] + 0.7), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    return grid[:count]


class _Plain(LogFormatter):
    """0.01, 20, 1e+06: those that LogFormatter would label, as other axes do."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_scale(axes: Axes, which: str) -> None:
    """Makes the axis "x" or "y" logarithmic; where it is short, values between the
    powers of ten are labelled, too."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(_Plain())
    axis.set_minor_locator(LogLocator(subs=(2, 3, 4, 5, 6, 7, 8, 9), numticks=8))
    axis.set_minor_formatter(_Plain(minor_thresholds=(1.8, 0.6)))


def short(value: float) -> str:
    """A number as figures and tables show it: four digits."""
    return f"{value:#.4g}".removesuffix(".")


# --- what is drawn of runs


def drawable(
    folders: Iterable[Path], read: Callable[[Path], Result]
) -> list[tuple[Path, Result]]:
    """What `read` makes of each run's folder; a folder named twice counts once.

    Those of which it makes a UserError are named on stderr. Raises UserError where
    nothing is left.
    """
    wanted = list(dict.fromkeys(folders))
    found = []
    for folder in wanted:
        try:
            found.append((folder, read(folder)))
        except UserError as error:
            if len(wanted) == 1:
                raise
            leave_out(error)
    if not found:
        raise UserError("none of these runs can be drawn.")
    return found


def leave_out(reason: object) -> None:
    """Says on stderr what a figure goes without."""
    print(f"{Path(sys.argv[0]).name}: left out: {reason}", file=sys.stderr)


def named_stage(folder: Path) -> int | None:
    """4 of runs/vgg8/swwae-all/stage4; None where a folder is no stage's own."""
    match = re.fullmatch(r"stage([0-4])", os.path.basename(os.path.abspath(folder)))
    return int(match[1]) if match else None


def labels(runs: Sequence[Run], usual_stage: int | None = 4) -> list[str]:
    """Short names of runs: the variant, and whatever else differs between them.

    usual_stage: what goes without saying where all are of it; None: it always does.
    """

    def differ(values: Iterable[object]) -> bool:
        return len(set(values)) > 1

    roots = differ(run.root for run in runs)
    nets = differ(run.net for run in runs)
    depths = differ(run.depth for run in runs)
    stages = usual_stage is not None and any(run.stage != usual_stage for run in runs)
    return [
        (f"{relative(run.root)}: " if roots else "")
        + (f"{run.net} " if nets else "")
        + run.variant
        + (f" depth {run.depth or 'default'}" if depths else "")
        + (f" (stage {run.stage})" if stages else "")
        for run in runs
    ]


# --- files


def picture_path(text: str) -> Path:
    """A figure's file, for argparse's `type`."""
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a .png nor an .svg, which a figure is written as"
        )
    return path


def save(figure: Figure, path: Path) -> None:
    """Writes an SVG, whose text is text, where the name ends so, else a PNG: the same
    bytes for the same figure.

    Raises UserError where the file cannot be written.
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
