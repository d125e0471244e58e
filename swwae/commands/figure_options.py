"""What the commands that draw a figure share: where it goes, and saying that it is."""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from swwae.base.project import relative
from swwae.figures import style


def add_figure_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --out, the file of the figure."""
    parser.add_argument(
        "--out",
        type=style.picture_path,
        required=True,
        metavar="FILE",
        help="the figure, a .png or an .svg",
    )


def save_and_print(figure: Figure, path: Path) -> None:
    """Writes a figure, and prints where it is. Raises UserError as `style.save`."""
    style.save(figure, path)
    print(f"drawn: {relative(path)}")
