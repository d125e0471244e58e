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
from swwae.commands.figure_options import add_figure_argument, save_and_print
from swwae.figures.results import draw_labels, draw_table, read, select


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
    add_figure_argument(parser)
    options = parser.parse_args()
    few_labels = options.what == "labels"
    if options.start is not None and few_labels:
        parser.error("--start is of --what table")
    check_writable(options.out)
    rows = select(read(options.results), few_labels, options.net)
    figure = draw_labels(rows) if few_labels else draw_table(rows, options.start or 0)
    save_and_print(figure, options.out)
    return 0
