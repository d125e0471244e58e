"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5).

At the right of a row: the mean of ||x^ - x||^2 over its images, pixels in [0, 1].
"""

import argparse
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.base import arguments, files, project
from swwae.commands.reconstruct import IMAGE_HELP
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import load
from swwae.figures import style
from swwae.figures.reconstructions import (
    ERROR,
    Row,
    decoded,
    decoding_stage,
    depths_of,
    draw,
    layer_name,
    model_depth,
)
from swwae.images import unseen

IMAGES = [f"val:{n}" for n in range(6)] + [unseen.PREFIX + n for n in unseen.NAMES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder such as runs/vgg8/swwae-all, or a stage's in it, such as"
        " runs/vgg8/swwae-all/stage3 (default: the newest stage with a decoder)",
    )
    parser.add_argument(
        "--depth",
        type=arguments.at_least(1),
        action="append",
        metavar="N",
        help="decode from macro-layer N; may be repeated (default: the run's depth and"
        " all below)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=IMAGES,
        metavar="IMAGE",
        help=f"{IMAGE_HELP} (default: {IMAGES[0]} to {IMAGES[5]}, and those)",
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
    found = style.drawable(options.runs, decoding_stage)
    stages = list(dict.fromkeys(stage for _, stage in found))
    jobs = [
        (depth, stage, label)
        for stage, label in zip(stages, style.labels(stages), strict=True)
        for depth in depths_of(stage, options.depth)
    ]
    jobs.sort(key=lambda job: job[0] or 0)
    if not jobs:
        raise UserError("no run decodes from there: there is nothing to draw.")
    images = f"{len(options.images)} image{'s' * (len(options.images) > 1)}"
    print(f"{images}, {len(jobs)} rows; {ERROR}, pixels in [0, 1]:", flush=True)
    pictures, originals, rows = None, [], []
    for depth, stage, label in jobs:
        try:
            network_depth = model_depth(stage, depth)
            model = Model(stage.net, stage.variant, network_depth, stage.final_weights)
        except UserError as error:
            style.leave_out(error)
            continue
        if pictures is None:
            pictures = [load(model, name) for name in options.images]
        try:
            seen, copies, error = decoded(model, pictures)
        except UserError as reason:
            style.leave_out(reason)
            continue
        if not originals:
            originals = seen
        elif not _same(seen, originals):
            style.leave_out(
                f"{stage.place}: {stage.net} reads images as {_shape(seen)}, or other"
                f" parts of them; the first run's as {_shape(originals)}. Draw it by"
                " itself."
            )
            continue
        rows.append(Row(f"{label} {layer_name(stage, depth)}", copies, error))
        print(f"  {style.short(error):>8}  {rows[-1].label}", flush=True)
    if not rows:
        raise UserError("there is nothing to draw.")
    nets = ", ".join(dict.fromkeys(stage.net for stage in stages))
    style.save(draw(originals, rows, nets), options.out)
    print(f"drawn: {project.relative(options.out)}")
    return 0


def _same(images: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, images, others))


def _shape(images: list[np.ndarray]) -> str:
    return "x".join(map(str, images[0].shape))
