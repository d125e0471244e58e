"""Weights for deploy_conv.prototxt: inner products as the convolutions that they are.

The numbers stay as they are, their shape changes: an inner product of M outputs over a
map of C channels, H x W, becomes a convolution of shape (M, C, H, W). The result serves
the "convolution" test scheme (Section 4.3) on images of any size.
"""

import argparse
from pathlib import Path

from generator.errors import UserError
from swwae.base import files
from swwae.nets.convolution import convert_file
from swwae.runs.run import Run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", default="baseline", help="default: %(default)s")
    parser.add_argument("--depth", type=int, metavar="N")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .caffemodel (default: what the variant's stage 4 left)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.caffemodel")
    options = parser.parse_args()
    if options.out.suffix != ".caffemodel":
        parser.error(f"--out {options.out}: the weights are a .caffemodel")
    files.check_writable(options.out)
    stage = Run(options.net, options.variant, 4, options.depth)
    source = options.weights or stage.final_weights
    if options.weights is None and not source.is_file():
        raise UserError(
            f"{stage.title} has not been run: give --weights FILE, or run"
            f" {stage.command}"
        )
    written, changed = convert_file(options.net, source, options.out)
    print(f"{options.out}: {written}")
    print(f"  convolutions now: {', '.join(changed) or 'none'}")
    return 0
