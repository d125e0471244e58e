"""Errors of tools/reproduce.py as a figure: of every model (the paper's Table 1), or by
the number of labels.

Bars and lines are means over the seeds, whiskers their standard deviation (of a sample:
divided by n - 1), dots the seeds. All of the single-crop scheme.
"""

import argparse
from math import isfinite
from pathlib import Path

from swwae.base.arguments import number
from swwae.base.files import check_writable
from swwae.base.project import relative
from swwae.figures import style
from swwae.figures.results import (
    draw_labels,
    draw_table,
    of_net,
    read,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "results", type=Path, metavar="RESULTS.json", help="of tools/reproduce.sh"
    )
    parser.add_argument(
        "--what",
        choices=("table", "labels"),
        default="table",
        help="every model with all labels, or errors by the number of labels (default:"
        " %(default)s)",
    )
    parser.add_argument("--net", help="where the results are of several networks")
    parser.add_argument(
        "--start",
        type=number(isfinite, "finite number"),
        metavar="PERCENT",
        help="where the table's axis begins (default: 0)",
    )
    parser.add_argument(
        "--out",
        type=style.picture_path,
        required=True,
        metavar="FILE",
        help="the figure, a .png or an .svg",
    )
    options = parser.parse_args()
    if options.start is not None and options.what != "table":
        parser.error("--start is of --what table")
    check_writable(options.out)
    table = options.what == "table"
    rows = [r for r in read(options.results) if (r["labels"] is None) == table]
    rows = of_net(rows, options.net)
    figure = draw_table(rows, options.start or 0) if table else draw_labels(rows)
    style.save(figure, options.out)
    print(f"drawn: {relative(options.out)}")
    return 0
