"""Finds loss weights that make the weighted losses comparable (Section 4.1).

Every macro-layer's reconstruction loss is measured on training images, with the weights
that the joint training of a variant comes from: of stage 2. (The stacked decoder of
*-first and *-all is then measured as stage 3 begins.) Its weight becomes what brings
the weighted loss to a common target: that of the image as it is weighted now, a number
(--target), or a multiple of the classification loss (--ratio).

Losses are Caffe's, 1/(2N) of the sum over N images: half the paper's.
"""

import argparse
import math
import signal

from generator.errors import UserError
from generator.names import CLASSIFICATION
from generator.variants import find_variant
from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, require_file
from swwae.base.project import BUILD_COMMAND, CAFFE, relative
from swwae.base.tables import print_summary
from swwae.commands import options
from swwae.engine import devices
from swwae.engine.trial import reconstructions
from swwae.nets import (
    building,
    data_layers,
    network,
    weights,
)
from swwae.runs.run import Run
from swwae.stages.sources import (
    check_weights,
    require_databases,
    require_network,
    require_source,
    source_weights,
)
from swwae.stages.status import weight_rows
from swwae.tuning import rates
from swwae.tuning.balance import (
    PROGRAM,
    Balance,
    _input,
    common,
    conclude,
    measured,
    rounded,
    table,
)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends Caffe, too
    variant = find_variant(options.variant)
    if not variant.has_decoder:
        raise UserError(f"{variant.name} has no decoder, and so no losses to balance.")
    if not variant.all_losses and options.target is None and options.ratio is None:
        raise UserError(
            f"{variant.name} reconstructs the image alone: there is nothing to balance"
            " its loss with but --target or --ratio."
        )
    if not CAFFE.is_file():
        raise UserError(f"the patched Caffe is not built: run {BUILD_COMMAND}")
    if options.json:
        check_writable(options.json)
    rates.read(options.net)  # refuses what could not be written to in the end
    joint = Run(options.net, variant.name, 4)
    first = Run(options.net, variant.name, 3) if variant.stacked else joint
    net = require_network(joint, joint.network)
    require_file(joint.solver, "solver", joint.generator_command)
    solver = network.read_solver(joint.solver)
    source = source_weights(first, options)
    require_source(first, source)
    require_databases(net, joint.network)
    shapes = building.parameter_shapes(joint.network)
    incoming = weights.load(source)
    check_weights(first, net, joint.network, source, shapes, incoming, options)
    comparison = weights.compare(shapes, incoming)
    del incoming
    gpu = None if options.gpu is None else str(options.gpu)
    gpus, device = devices.choose(CAFFE, gpu)
    batch = data_layers.batch_size(net)
    images = f" of {batch} images" if batch else ""
    print_summary(
        f"{joint.place}: losses of {options.batches:,} training batches{images}",
        [
            ("network", relative(joint.network)),
            ("weights", relative(source)),
            *weight_rows(comparison, shapes, kept=False),
            ("decoder", _input(variant.stacked)),
            ("device", device),
        ],
    )
    solver.random_seed = options.seed
    solver.max_iter = options.batches
    raw = measured(net, shapes, solver, source, gpus[0] if gpus else None)
    losses = reconstructions(net)
    classification = sum(
        raw[layer.top[0]] * (layer.loss_weight[0] if layer.loss_weight else 1)
        for layer in net.layer
        if layer.type == CLASSIFICATION and data_layers.in_training(layer)
    )
    target = common(options, losses, raw, classification)
    balances = [
        Balance(loss, raw[loss.blob], rounded(target / raw[loss.blob]))
        for loss in losses
    ]
    print(table(balances, classification))
    return conclude(options, balances, classification, source)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_arguments(
        parser, weights="measure with this .caffemodel (default: stage 2)"
    )
    parser.add_argument("--variant", default="swwae-all", help="default: %(default)s")
    parser.add_argument(
        "--batches",
        type=at_least(1),
        default=50,
        metavar="N",
        help="of training images (default: %(default)s)",
    )
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument(
        "--target",
        type=_positive,
        metavar="X",
        help="every weighted loss (default: the image's, as it is now)",
    )
    aim.add_argument(
        "--ratio",
        type=_positive,
        metavar="R",
        help="every weighted loss over the classification loss",
    )
    parser.add_argument(
        "--gpu",
        type=at_least(0),
        metavar="N",
        help="a GPU's number (default: the first GPU, the CPU where there is none)",
    )
    return parser


_positive = number(lambda x: 0 < x < math.inf, "number above 0")
