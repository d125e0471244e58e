"""Whether training has ruined what it should have made, an encoder or a decoder.

Where macro-layers' activations are reconstruction targets, an encoder can lower those
losses by making its activations small: zero is easy to reconstruct. Their mean square
before and after training shows it. A decoder that learns too fast may lose all its
ReLUs, and makes the same of every image from then on: the variance of its
reconstructions over images shows that.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import caffe
import network
import numpy as np
from runs import relative
from runtime import ROOT, UserError
from trial import RECONSTRUCTION

COLLAPSED = 0.1
"""Share of its mean square below which an activation has collapsed (ours)."""

DEAD = 1e-3
"""Share of the target's variance below which a reconstruction is a constant (ours)."""

Change = dict[str, dict[str, float]]
"""Activation -> its mean square "before" and "after"."""


@dataclass(frozen=True)
class Findings:
    """activations: of the encoder, where joint training reconstructs them.

    variances: target -> variance over images of its reconstruction, as a share of its
    own; both are means over units.
    """

    activations: Change
    variances: dict[str, float]

    @property
    def warning(self) -> str | None:
        """Sentences on what is ruined; None where nothing is."""
        found = [collapsed(self.activations), dead(self.variances)]
        return " ".join(filter(None, found)) or None


def examine(net_path: Path, after: Path, before: Path | None) -> Findings:
    """What training made of the first test batch's activations and reconstructions.

    net_path: a stage's network. before: what joint training began with; None for a
    stage that leaves the encoder as it is. Both are empty where there are no test
    images. Raises UserError where Caffe ends.
    """
    pairs = _reconstructions(net_path)
    if not pairs or not _has_test_images(net_path):
        return Findings({}, {})
    new = _measure(net_path, after, {blob for pair in pairs for blob in pair})
    activations = {}
    if before is not None and (targets := [target for _, target in pairs[:-1]]):
        old = _measure(net_path, before, set(targets))
        activations = {
            blob: {"before": old[blob].mean_square, "after": new[blob].mean_square}
            for blob in targets
            if isfinite(old[blob].mean_square) and isfinite(new[blob].mean_square)
        }
    variances = {
        target: new[made].variance / new[target].variance
        for made, target in pairs
        if new[target].variance > 0 and isfinite(new[made].variance)
    }
    return Findings(activations, variances)


def collapsed(change: Change) -> str | None:
    """A sentence on the activations that training has made all but 0; None without."""
    fallen = [
        f"{blob} to {each['after'] / each['before']:.2g}"
        for blob, each in change.items()
        if each["after"] < COLLAPSED * each["before"]
    ]
    if not fallen:
        return None
    return (
        f"the encoder has collapsed: the mean square of its activations fell, of"
        f" {', of '.join(fallen)} of what it was, as zeros are easy to reconstruct."
        " Lower the loss_weight of the macro-layers' losses, and start from a trained"
        " classifier (stages 0 to 3)."
    )


def dead(variances: Mapping[str, float]) -> str | None:
    """A sentence on reconstructions that are one for all images; None without."""
    constant = [target for target, share in variances.items() if share < DEAD]
    if not constant:
        return None
    return (
        f"a decoder is dead: its reconstruction of {', of '.join(constant)} is the same"
        " for every image, as where too large a learning rate has put out its ReLUs."
        " Lower base_lr of the first stage that warns of it (generator: --base-lr"
        " STAGE=X), and make it and those after it anew."
    )


def _reconstructions(net_path: Path) -> list[tuple[str, str]]:
    """Blobs that a network's reconstruction losses compare, the reconstruction and its
    target, from the deepest one on; the last target is the image."""
    return [
        (layer.bottom[0], layer.bottom[1])
        for layer in network.read(net_path).layer
        if layer.name.startswith(RECONSTRUCTION)
    ]


def _has_test_images(net_path: Path) -> bool:
    layers = [la for la in network.read(net_path).layer if la.type in network.DATA]
    return any(
        caffe.TRAIN not in [rule.phase for rule in layer.include] for layer in layers
    )


@dataclass(frozen=True)
class _Statistics:
    """Of a blob's first batch: over all values, and over images by unit."""

    mean_square: float
    variance: float


def _measure(net_path: Path, weights: Path, blobs: set[str]) -> dict[str, _Statistics]:
    """In a process of its own, which Caffe may end, and which gives the memory back."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_forward, args=(net_path, weights, blobs, sender))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise UserError(
            f"Caffe ended while it ran {relative(net_path)} with {relative(weights)}."
        ) from None
    finally:
        child.join()


def _forward(
    net_path: Path, weights: Path, blobs: set[str], sender: Connection
) -> None:
    with open(os.devnull, "w") as nowhere:  # Caffe prints all of a network it refuses
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    os.chdir(ROOT)  # LMDBs are named relative to it
    caffe.set_mode_cpu()
    net = caffe.Net(str(net_path), caffe.TEST, weights=str(weights))
    net.forward()
    found = {}
    for blob in blobs:
        values = np.asarray(net.blobs[blob].data, dtype=float)
        found[blob] = _Statistics(
            float(np.mean(np.square(values))), float(np.mean(np.var(values, axis=0)))
        )
    sender.send(found)
