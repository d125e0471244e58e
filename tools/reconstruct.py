#!/usr/bin/env python3
"""Images above what a decoder makes of their features."""

import argparse
import re
from pathlib import Path

from runtime import UserError, run, use_project_python

use_project_python("caffe", "lmdb", "numpy", "PIL")

import figures  # noqa: E402
import numpy as np  # noqa: E402
import runs  # noqa: E402
import unseen  # noqa: E402
from images import read_image  # noqa: E402
from inference import Model, add_model_arguments, squared_error  # noqa: E402

IMAGE_HELP = (
    "an image file; val:N or train:N, the N-th image of the data set; or "
    + ", ".join(unseen.PREFIX + name for name in unseen.NAMES)
    + ", which no data set has"
)


def load(model: Model, name: str) -> np.ndarray:
    """uint8 (C, h, w) of a file, of val:N or train:N, the N-th of the data set, or of
    unseen:NAME, as large as the network reads images."""
    match = re.fullmatch(r"(val|train):(\d+)", name)
    if match:
        return model.images(match[1]).image(int(match[2]))
    if name.startswith(unseen.PREFIX):
        prepare = model.images("val").preprocessing
        side = max(prepare.shorter_edge, *prepare.shape[1:])
        return unseen.load(name.removeprefix(unseen.PREFIX), side)
    return read_image(Path(name))


def reconstruct(
    model: Model, images: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Originals as the network saw them, reconstructions, and ||x^ - x||^2 of each.

    Images are uint8 (C, H, W); the errors are of the unclipped reconstructions, with
    pixels in [0, 1]. Raises UserError when the network has no decoder.
    """
    if not model.variant.has_decoder:
        raise UserError(
            f"{model.variant.name} has no decoder; choose sae-* or swwae-*."
        )
    prepare = model.images("val").preprocessing
    data = np.stack([prepare(image) for image in images])
    decoded = model(data).reconstructions
    originals = [prepare.pixels(image / 255) for image in data]
    copies = [prepare.pixels(image) for image in decoded]
    return originals, copies, squared_error(decoded, data)


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
    options = parser.parse_args()
    if options.out.suffix.lower() != ".png":
        parser.error(f"--out {options.out}: the picture is a .png")
    if options.scale is not None and not 1 <= options.scale <= 64:
        parser.error("--scale: 1 to 64")
    runs.check_writable(options.out)
    model = Model(options.net, options.variant, options.depth, options.weights)
    images = [load(model, name) for name in options.images]
    originals, copies, errors = reconstruct(model, images)
    scale = options.scale or figures.default_scale(originals[0].shape[1])
    rows = [
        ("original", originals),
        (f"{options.variant}\n{model.depth or ''}", copies),
    ]
    figures.save(figures.grid(rows, scale), options.out)
    place = f"macro-layer {model.depth}" if model.depth else "the default depth"
    print(f"{options.net} {options.variant}, decoded from {place}")
    for name, error in zip(options.images, errors, strict=True):
        print(f"  {error:10.4g}  {name}")
    print(f"mean ||x^ - x||^2 {errors.mean():.4g}, pixels in [0, 1]: {options.out}")
    return 0


if __name__ == "__main__":
    run(main)
