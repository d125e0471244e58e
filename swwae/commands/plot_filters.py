"""A layer's filters before and after finetuning, and how much every layer's weights
changed (the paper's A2.1 and Figure A-1).

Both pictures have the same arrangement, and the same scale for the same filter: shown
one in the place of the other, they differ in what changed alone.
"""

import argparse
from pathlib import Path

from swwae.base import project
from swwae.base.files import check_writable
from swwae.commands.figure_options import add_figure_argument, save_and_print
from swwae.figures.filters import (
    PAPER,
    change,
    chosen_layer,
    classifier_layers,
    draw,
    finetuned,
    mosaics,
    table,
    weight_pairs,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="a folder such as runs/vgg8/swwae-all, whose stage 4 has finished",
    )
    parser.add_argument(
        "--before", type=Path, metavar="FILE", help="weights, in place of RUN"
    )
    parser.add_argument("--after", type=Path, metavar="FILE", help="and these later")
    parser.add_argument("--net", help="the network that they are of")
    parser.add_argument(
        "--layer", metavar="NAME", help="a convolution (default: the first)"
    )
    add_figure_argument(parser)
    options = parser.parse_args()
    net, before, after = weights = (options.net, options.before, options.after)
    if (options.run is None) != (None not in weights) or (options.run and any(weights)):
        parser.error("give either RUN, or --before, --after and --net")
    check_writable(options.out)
    if options.run is not None:
        net, before, after = finetuned(options.run)
    layers = classifier_layers(net)
    layer = chosen_layer(layers, options.layer, net)
    pairs = weight_pairs(layers, net, before, after)
    changes = [change(name, *pair) for name, pair in pairs.items()]
    print(f"{project.relative(before)} -> {project.relative(after)}")
    print(table(changes))
    print(PAPER)
    save_and_print(draw(layer, mosaics(*pairs[layer]), changes), options.out)
    return 0
