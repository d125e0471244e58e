#!/usr/bin/env python3
"""Finds loss weights that make the weighted losses comparable (Section 4.1).

Every macro-layer's reconstruction loss is measured on training images, with the weights
that the joint training of a variant comes from: of stage 2. (The stacked decoder of
*-first and *-all is then measured as stage 3 begins.) Its weight becomes what brings
the weighted loss to a common target: that of the image as it is weighted now, a number
(--target), or a multiple of the classification loss (--ratio).

Losses are Caffe's, 1/(2N) of the sum over N images: half the paper's.
"""

import argparse
import json
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime import BUILD_COMMAND, UserError, run, use_project_python

use_project_python("caffe", "google", "numpy")

import devices  # noqa: E402
import found  # noqa: E402
import network  # noqa: E402
import weights  # noqa: E402
from arguments import at_least, number  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402
from columns import columns  # noqa: E402
from generator.rates import Figures  # noqa: E402
from generator.variants import find_variant  # noqa: E402
from google.protobuf import text_format  # noqa: E402
from prerequisites import (  # noqa: E402
    check_weights,
    require,
    require_databases,
    require_network,
    require_source,
    source_weights,
)
from progress import Counter  # noqa: E402
from runs import CAFFE, RUNS, Run, check_writable, relative  # noqa: E402
from status import print_table, weight_rows  # noqa: E402
from trial import (  # noqa: E402
    CLASSIFICATION,
    Reconstruction,
    Trial,
    reconstructions,
)
from wholefile import whole_file  # noqa: E402

PROGRAM = "balance_losses.py"


@dataclass(frozen=True)
class Balance:
    """Of one reconstruction loss, raw: the present weight and the new one."""

    loss: Reconstruction
    raw: float
    weight: float


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
    found.read(options.net)  # refuses what could not be written to in the end
    joint = Run(options.net, variant.name, 4)
    first = Run(options.net, variant.name, 3) if variant.stacked else joint
    net = require_network(joint, joint.network)
    require(joint.solver, "solver", joint.generator_command)
    solver = network.read_solver(joint.solver)
    source = source_weights(first, options)
    require_source(first, source)
    require_databases(net, joint.network)
    shapes = network.parameter_shapes(joint.network)
    incoming = weights.load(source)
    check_weights(first, net, joint.network, source, shapes, incoming, options)
    comparison = weights.compare(shapes, incoming)
    del incoming
    gpu = None if options.gpu is None else str(options.gpu)
    gpus, device = devices.choose(CAFFE, gpu)
    batch = network.batch_size(net)
    images = f" of {batch} images" if batch else ""
    print_table(
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
        if layer.type == CLASSIFICATION and network.in_training(layer)
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
    found.add_arguments(
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


def _input(stacked: bool) -> str:
    if stacked:
        return "stacked: each macro-layer's reads the one above it"
    return "layerwise: each macro-layer's reads the encoder"


def measured(
    net: caffe_pb2.NetParameter,
    shapes: weights.Shapes,
    solver: caffe_pb2.SolverParameter,
    source: Path,
    gpu: int | None,
) -> dict[str, float]:
    """Loss's blob -> its raw value, the mean over the solver's iterations.

    Nothing is learnt: all rates are 0, so that Caffe computes no gradient either.
    Raises UserError where a loss is no number above 0.
    """
    fixed = caffe_pb2.NetParameter()
    fixed.CopyFrom(net)
    for layer in fixed.layer:
        while len(layer.param) < len(shapes.get(layer.name, ())):
            layer.param.add()
        for parameter in layer.param:
            parameter.lr_mult = 0
    solver.base_lr = 0
    RUNS.mkdir(parents=True, exist_ok=True)
    sums: dict[str, float] = {}
    with TemporaryDirectory(prefix=".balance-", dir=RUNS) as folder:
        path = Path(folder) / "train_val.prototxt"
        path.write_text(text_format.MessageToString(fixed), encoding="utf-8")
        solver.net = relative(path)
        trial = Trial(solver, source, Path(folder) / "losses", gpu=gpu)
        done = Counter(solver.max_iter, "batches")
        for number, losses in enumerate(trial.losses(), start=1):
            done(number)
            for blob, loss in losses.items():
                sums[blob] = sums.get(blob, 0.0) + loss
    means = {blob: total / solver.max_iter for blob, total in sums.items()}
    for blob, loss in means.items():
        if not 0 < loss < math.inf:
            raise UserError(
                f"the loss {blob} is {loss} with {relative(source)}: no weight can"
                " balance it; give other weights with --weights FILE."
            )
    return means


def common(
    options: argparse.Namespace,
    losses: list[Reconstruction],
    raw: Mapping[str, float],
    classification: float,
) -> float:
    """What every weighted reconstruction loss is to be."""
    if options.target is not None:
        return options.target
    if options.ratio is None:
        return losses[0].weight * raw[losses[0].blob]
    if not classification:
        raise UserError(
            f"{options.net} has no {CLASSIFICATION} layer for --ratio to refer to; give"
            " --target X."
        )
    return options.ratio * classification


def rounded(weight: float) -> float:
    """Two digits: the losses of other batches differ in the third."""
    return float(f"{weight:.2g}")


def table(balances: list[Balance], classification: float) -> str:
    """A row a loss, for a person."""
    rows = [("loss", "raw", "present weight", "weighted", "new weight", "weighted")]
    for each in balances:
        present = each.loss.weight
        rows.append(
            (
                f"{each.loss.index} {each.loss.blob}",
                f"{each.raw:.4g}",
                f"{present:.2g}",
                f"{present * each.raw:.3g}",
                f"{each.weight:.2g}",
                f"{each.weight * each.raw:.3g}",
            )
        )
    if classification:
        value = f"{classification:.3g}"
        rows.append(("classification", "", "", value, "", value))
    return "\n" + columns(rows)


def conclude(
    options: argparse.Namespace,
    balances: list[Balance],
    classification: float,
    source: Path,
) -> int:
    """JSON and rates.json."""
    command = found.command(
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
            "losses": [
                {
                    "activation": each.loss.index,
                    "loss": each.loss.blob,
                    "raw": each.raw,
                    "present_weight": each.loss.weight,
                    "new_weight": each.weight,
                }
                for each in balances
            ],
        }
        with whole_file(options.json, "w") as file:
            json.dump(content, file, indent=2, allow_nan=False)
            file.write("\n")
    values = {each.loss.index: each.weight for each in balances}
    figures = Figures(values, command, options.batches)
    path = found.write(options.net, loss_weights={options.variant: figures})
    found.tell(path, options.net, options.variant)
    return 0


if __name__ == "__main__":
    run(main)
