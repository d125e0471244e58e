"""Training curves of runs (the paper's Figure A-2): validation accuracy, and a panel a
loss, all runs in each.

Lines are of training batches, markers of the test images. Where a run logged more than
100 losses, a line is of means over neighbouring ones; the figure says of how many.
Losses are raw, not multiplied by their weights, the total is the weighted sum; a
decoder's is Caffe's EuclideanLoss, half the mean of the squared distances. Faint
vertical lines mark where a learning rate fell.
"""

import argparse
from pathlib import Path

from swwae.base.files import check_writable
from swwae.commands.figure_options import add_figure_argument, save_and_print
from swwae.figures.curves import (
    CLASSIFICATION,
    TOTAL,
    collect,
    draw,
    last_values,
    loss_names,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder such as runs/vgg8/swwae-all, or a stage's in it",
    )
    parser.add_argument(
        "--stage",
        type=int,
        choices=(0, 2, 3, 4),
        help="default: of each run the last that was started",
    )
    parser.add_argument(
        "--loss",
        nargs="+",
        metavar="NAME",
        help=f"losses to draw: {TOTAL}, {CLASSIFICATION}, dec:loss@… (default: all)",
    )
    parser.add_argument(
        "--iterations",
        action="store_true",
        help="against iterations, also where the epochs of all runs are known",
    )
    add_figure_argument(parser)
    options = parser.parse_args()
    check_writable(options.out)
    curves, title = collect(options.runs, options.stage)
    losses = loss_names(curves, options.loss)
    epochs = not options.iterations and all(curve.epoch for curve in curves)
    figure = draw(curves, losses, title, epochs)
    for curve in curves:
        print(f"{curve.label}: {last_values(curve)}")
    save_and_print(figure, options.out)
    return 0
