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

from generator.errors import UserError
from swwae.base import files, project
from swwae.engine.log import Log
from swwae.figures import style
from swwae.figures.curves import (
    CLASSIFICATION,
    TOTAL,
    draw,
    loss_names,
    read,
    stage_of,
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
    parser.add_argument(
        "--out",
        type=style.picture_path,
        required=True,
        metavar="FILE",
        help="the figure, a .png or an .svg",
    )
    options = parser.parse_args()
    files.check_writable(options.out)
    found = style.drawable(options.runs, lambda run: stage_of(run, options.stage))
    stages = list(dict.fromkeys(stage for _, stage in found))
    names = dict(zip(stages, style.labels(stages, stages[0].stage), strict=True))
    curves = []
    for stage, name in names.items():
        try:
            curves.append(read(stage, name))
        except UserError as error:
            style.leave_out(error)
    if not curves:
        raise UserError("none of these runs has curves.")
    losses = loss_names(curves, options.loss)
    nets = ", ".join(dict.fromkeys(stage.net for stage in stages))
    same = len({stage.stage for stage in stages}) == 1
    title = f"{nets}, stage {stages[0].stage}" if same else nets
    epochs = not options.iterations and all(curve.epoch for curve in curves)
    style.save(draw(curves, losses, title, epochs), options.out)
    for curve in curves:
        print(f"{curve.label}: {_last(curve.log)}")
    print(f"drawn: {project.relative(options.out)}")
    return 0


def _last(log: Log) -> str:
    """A log's last values."""
    values = {TOTAL: log.loss, **log.test}
    return ", ".join(
        f"{name} {style.short(series[1][-1])} at {series[0][-1]:,}"
        for name, series in values.items()
        if series[0].size
    )
