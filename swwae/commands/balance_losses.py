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
from collections.abc import Sequence
from pathlib import Path

from generator.rates import Figures
from generator.variants import find_variant
from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, require_file, write_json
from swwae.base.project import relative, require_caffe
from swwae.base.tables import print_summary
from swwae.commands.options import (
    add_gpu_argument,
    add_tuning_arguments,
    chosen_gpu,
)
from swwae.engine.trial import reconstructions
from swwae.nets import data_layers, network
from swwae.runs.run import Run
from swwae.stages.sources import (
    require_databases,
    require_network,
    require_source,
    source_weights,
    starting_layers,
)
from swwae.stages.status import weight_rows
from swwae.tuning.balance import (
    Balance,
    balance_json,
    balance_table,
    balanced,
    check_variant,
    classification_loss,
    common_target,
    decoder_input,
    measure_losses,
)
from swwae.tuning.rates import (
    add_to_rates_file,
    command_line,
    print_next_commands,
    read_rates_file,
)

PROGRAM = "balance_losses.py"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends Caffe, too
    variant = find_variant(options.variant)
    has_target = options.target is not None or options.ratio is not None
    check_variant(variant, has_target)
    require_caffe()
    if options.json:
        check_writable(options.json)
    read_rates_file(options.net)  # refuses what could not be written to in the end
    joint = Run(options.net, variant.name, 4)
    first = Run(options.net, variant.name, 3) if variant.stacked else joint
    net = require_network(joint, joint.network)
    require_file(joint.solver, "solver", joint.generator_command)
    solver = network.read_solver(joint.solver)
    source = source_weights(first, options.weights)
    require_source(first, source)
    require_databases(net, joint.network)
    shapes, comparison = starting_layers(
        first, net, joint.network, source, chosen=options.weights is not None
    )
    gpu, device = chosen_gpu(options.gpu)
    batch = data_layers.batch_size(net)
    images = f" of {batch} images" if batch else ""
    print_summary(
        f"{joint.place}: losses of {options.batches:,} training batches{images}",
        [
            ("network", relative(joint.network)),
            ("weights", relative(source)),
            *weight_rows(comparison, shapes, kept=False),
            ("decoder", decoder_input(variant.stacked)),
            ("device", device),
        ],
    )
    raw = measure_losses(
        net,
        shapes,
        solver,
        source,
        options.batches,
        options.seed,
        gpu,
    )
    losses = reconstructions(net)
    classification = classification_loss(net, raw)
    target = common_target(
        options.net, losses, raw, classification, options.target, options.ratio
    )
    balances = balanced(losses, raw, target)
    print(f"\n{balance_table(balances, classification)}")
    _write(balances, classification, options, source)
    return 0


def _write(
    balances: Sequence[Balance],
    classification: float,
    options: argparse.Namespace,
    source: Path,
) -> None:
    """Writes JSON and rates.json."""
    command = command_line(
        PROGRAM,
        {
            "net": options.net,
            "variant": options.variant,
            "weights": relative(source) if options.weights else None,
            "batches": options.batches,
            "target": options.target,
            "ratio": options.ratio,
            "seed": options.seed,
        },
    )
    if options.json:
        content = {
            "net": options.net,
            "variant": options.variant,
            "command": command,
            "weights": relative(source),
            "batches": options.batches,
            "classification_loss": classification or None,
            "losses": balance_json(balances),
        }
        write_json(options.json, content)
    values = {balance.loss.index: balance.weight for balance in balances}
    figures = Figures(values, command, options.batches)
    path = add_to_rates_file(options.net, loss_weights={options.variant: figures})
    print_next_commands(path, options.net, options.variant)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_tuning_arguments(
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
    add_gpu_argument(parser)
    return parser


_positive = number(lambda x: 0 < x < math.inf, "number above 0")
