"""Weights of the reconstruction losses that make the weighted losses comparable.

Section 4.1 of the paper asks for it; how the weights are found is ours. Losses are
Caffe's, 1/(2N) of the sum over N images: half the paper's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.names import CLASSIFICATION
from generator.variants import Variant
from swwae.base.progress import Counter
from swwae.base.project import RUNS, relative
from swwae.base.tables import columns
from swwae.engine.trial import Reconstruction, Trial
from swwae.nets import data_layers, weights


@dataclass(frozen=True)
class Balance:
    """A reconstruction loss, with its present weight; `raw`, its value without any; and
    the new weight."""

    loss: Reconstruction
    raw: float
    weight: float


def check_variant(variant: Variant, has_target: bool) -> None:
    """Raises UserError where a variant has no losses to balance.

    has_target: whether a target of every weighted loss is given (--target, --ratio).
    """
    if not variant.has_decoder:
        raise UserError(f"{variant.name} has no decoder, and so no losses to balance.")
    if not variant.all_losses and not has_target:
        raise UserError(
            f"{variant.name} reconstructs the image alone: there is nothing to balance"
            " its loss with but --target or --ratio."
        )


def decoder_input(stacked: bool) -> str:
    """Returns in words what the decoders read."""
    if stacked:
        return "stacked: each macro-layer's reads the one above it"
    return "layerwise: each macro-layer's reads the encoder"


def measure_losses(
    net: caffe_pb2.NetParameter,
    shapes: weights.Shapes,
    solver: caffe_pb2.SolverParameter,
    source: Path,
    batches: int,
    seed: int,
    gpu: int | None = None,
) -> dict[str, float]:
    """Returns a loss's blob -> its value without any weight, the mean over batches.

    net: in training, of the solver; shapes: of its parameters; source: its weights;
    batches: of training images; seed: of Caffe's random numbers; gpu: its number, None
    for the CPU. Nothing is learnt: all rates are 0, so that Caffe computes no gradient
    either. Raises UserError where a loss is no number above 0.
    """
    fixed = caffe_pb2.NetParameter()
    fixed.CopyFrom(net)
    for layer in fixed.layer:
        while len(layer.param) < len(shapes.get(layer.name, ())):
            layer.param.add()
        for parameter in layer.param:
            parameter.lr_mult = 0
    measuring = caffe_pb2.SolverParameter()
    measuring.CopyFrom(solver)
    measuring.base_lr = 0
    measuring.max_iter = batches
    measuring.random_seed = seed
    RUNS.mkdir(parents=True, exist_ok=True)
    sums: dict[str, float] = {}
    with TemporaryDirectory(prefix=".balance-", dir=RUNS) as folder:
        path = Path(folder) / "train_val.prototxt"
        path.write_text(text_format.MessageToString(fixed), encoding="utf-8")
        measuring.net = relative(path)
        trial = Trial(measuring, source, Path(folder) / "losses", gpu=gpu)
        count = Counter(batches, "batches")
        for done, losses in enumerate(trial.losses(), start=1):
            count(done)
            for blob, loss in losses.items():
                sums[blob] = sums.get(blob, 0.0) + loss
    means = {blob: total / batches for blob, total in sums.items()}
    for blob, loss in means.items():
        if not 0 < loss < math.inf:
            raise UserError(
                f"the loss {blob} is {loss} with {relative(source)}: no weight can"
                " balance it; give other weights with --weights FILE."
            )
    return means


def classification_loss(net: caffe_pb2.NetParameter, raw: Mapping[str, float]) -> float:
    """Returns the weighted classification loss; 0 where a network has none.

    raw: as `measure_losses` returns it.
    """
    return sum(
        raw[layer.top[0]] * (layer.loss_weight[0] if layer.loss_weight else 1)
        for layer in net.layer
        if layer.type == CLASSIFICATION and data_layers.in_training(layer)
    )


def common_target(
    net: str,
    losses: Sequence[Reconstruction],
    raw: Mapping[str, float],
    classification: float,
    target: float | None = None,
    ratio: float | None = None,
) -> float:
    """Returns what every weighted reconstruction loss is to be.

    It is `target`, or `ratio` times the weighted classification loss, or without both
    the image's loss as it is weighted now. losses: the image's first; raw: as
    `measure_losses` returns it. Raises UserError where there is no classification loss
    for the ratio to refer to.
    """
    if target is not None:
        return target
    if ratio is None:
        return losses[0].weight * raw[losses[0].blob]
    if not classification:
        raise UserError(
            f"{net} has no {CLASSIFICATION} layer for --ratio to refer to; give"
            " --target X."
        )
    return ratio * classification


def balanced(
    losses: Sequence[Reconstruction], raw: Mapping[str, float], target: float
) -> list[Balance]:
    """Returns the losses with weights that bring each to the target.

    A weight has two digits: the losses of other batches differ in the third.
    """
    return [
        Balance(loss, raw[loss.blob], float(f"{target / raw[loss.blob]:.2g}"))
        for loss in losses
    ]


def balance_table(balances: Sequence[Balance], classification: float) -> str:
    """Returns a row a loss, for a person."""
    rows = [("loss", "raw", "present weight", "weighted", "new weight", "weighted")]
    for balance in balances:
        present = balance.loss.weight
        rows.append(
            (
                f"{balance.loss.index} {balance.loss.blob}",
                f"{balance.raw:.4g}",
                f"{present:.2g}",
                f"{present * balance.raw:.3g}",
                f"{balance.weight:.2g}",
                f"{balance.weight * balance.raw:.3g}",
            )
        )
    if classification:
        value = f"{classification:.3g}"
        rows.append(("classification", "", "", value, "", value))
    return columns(rows)


def balance_json(balances: Sequence[Balance]) -> list[dict]:
    """Returns the losses as balance_losses.py writes them to its JSON file."""
    return [
        {
            "activation": balance.loss.index,
            "loss": balance.loss.blob,
            "raw": balance.raw,
            "present_weight": balance.loss.weight,
            "new_weight": balance.weight,
        }
        for balance in balances
    ]
