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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.names import CLASSIFICATION
from generator.rates import Figures
from swwae.base.files import whole_file
from swwae.base.progress import Counter
from swwae.base.project import RUNS, relative
from swwae.base.tables import columns
from swwae.engine.trial import Reconstruction, Trial
from swwae.nets import weights
from swwae.tuning import rates

PROGRAM = "balance_losses.py"


@dataclass(frozen=True)
class Balance:
    """Of one reconstruction loss, raw: the present weight and the new one."""

    loss: Reconstruction
    raw: float
    weight: float


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
    command = rates.command(
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
    path = rates.write(options.net, loss_weights={options.variant: figures})
    rates.tell(path, options.net, options.variant)
    return 0
