"""Images above what a decoder makes of their features."""

import argparse
import sys
from pathlib import Path

from swwae.base import files
from swwae.commands.options import add_gpu_argument, add_model_arguments, chosen_gpu
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import load, reconstruct
from swwae.images import grid, unseen

IMAGE_HELP = (
    "an image file; val:N or train:N, the N-th image of the data set; or "
    + ", ".join(unseen.PREFIX + name for name in unseen.NAMES)
    + ", which no data set has"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help=IMAGE_HELP,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument(
        "--scale", type=int, metavar="K", help="draw a pixel as K x K pixels"
    )
    add_gpu_argument(parser)
    options = parser.parse_args()
    if options.out.suffix.lower() != ".png":
        parser.error(f"--out {options.out}: the picture is a .png")
    if options.scale is not None and not 1 <= options.scale <= 64:
        parser.error("--scale: 1 to 64")
    files.check_writable(options.out)
    gpu, device = chosen_gpu(options.gpu)
    model = Model(options.net, options.variant, options.depth, options.weights, gpu)
    images = [load(model, name) for name in options.images]
    print(f"{len(options.images)} images, on the {device}", file=sys.stderr)
    originals, copies, errors = reconstruct(model, images)
    scale = options.scale or grid.default_scale(originals[0].shape[1])
    rows = [
        ("original", originals),
        (f"{options.variant}\n{model.depth or ''}", copies),
    ]
    grid.save(grid.grid(rows, scale), options.out)
    place = f"macro-layer {model.depth}" if model.depth else "the default depth"
    print(f"{options.net} {options.variant}, decoded from {place}")
    for name, error in zip(options.images, errors, strict=True):
        print(f"  {error:10.4g}  {name}")
    print(f"mean ||x^ - x||^2 {errors.mean():.4g}, pixels in [0, 1]: {options.out}")
    return 0
