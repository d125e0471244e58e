"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5).

At the right of a row: the mean of ||x^ - x||^2 over its images, pixels in [0, 1].
"""

import argparse
from pathlib import Path

from swwae.base import arguments, files
from swwae.commands.figure_options import add_figure_argument, save_and_print
from swwae.commands.reconstruct import IMAGE_HELP
from swwae.figures import selection, style
from swwae.figures.reconstructions import ERROR, Row, decode, decodings, draw
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
    add_figure_argument(parser)
    options = parser.parse_args()
    files.check_writable(options.out)
    planned = decodings(options.runs, options.depth)
    images = f"{len(options.images)} image{'s' * (len(options.images) > 1)}"
    print(f"{images}, {len(planned)} rows; {ERROR}, pixels in [0, 1]:", flush=True)
    originals, rows = decode(planned, options.images, _print_row)
    nets = selection.nets_of(row.run for row in planned)
    save_and_print(draw(originals, rows, nets), options.out)
    return 0


def _print_row(row: Row) -> None:
    print(f"  {style.short(row.error):>8}  {row.label}", flush=True)
