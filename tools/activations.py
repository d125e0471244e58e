"""Whether joint training has made an encoder lose what it had learnt.

Where macro-layers' activations are reconstruction targets, an encoder can lower those
losses by making its activations small: zero is easy to reconstruct. Their mean square
before and after training shows it.
"""

import os
import sys
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

Change = dict[str, dict[str, float]]
"""Activation -> its mean square "before" and "after"."""


def targets(net_path: Path) -> list[str]:
    """The encoder's blobs that a network's reconstruction losses compare with, from the
    deepest one on; the image, the target of the last, is none of the encoder's."""
    losses = [
        layer
        for layer in network.read(net_path).layer
        if layer.name.startswith(RECONSTRUCTION)
    ]
    return [layer.bottom[1] for layer in losses[:-1]]


def changes(net_path: Path, before: Path, after: Path) -> Change:
    """Mean squares of what a network reconstructs, with two files of weights.

    They are over the first test batch. net_path: a train_val.prototxt. {} where only
    the image is reconstructed, or where there are no test images. Raises UserError
    where Caffe ends.
    """
    blobs = targets(net_path)
    if not blobs or not _has_test_images(net_path):
        return {}
    old = _mean_squares(net_path, before, blobs)
    new = _mean_squares(net_path, after, blobs)
    return {
        blob: {"before": old[blob], "after": new[blob]}
        for blob in blobs
        if isfinite(old[blob]) and isfinite(new[blob])
    }


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


def _has_test_images(net_path: Path) -> bool:
    layers = [la for la in network.read(net_path).layer if la.type in network.DATA]
    return any(
        caffe.TRAIN not in [rule.phase for rule in layer.include] for layer in layers
    )


def _mean_squares(net_path: Path, weights: Path, blobs: list[str]) -> dict[str, float]:
    """In a process of its own, which Caffe may end, and which gives the memory back."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(net_path, weights, blobs, sender))
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


def _measure(
    net_path: Path, weights: Path, blobs: list[str], sender: Connection
) -> None:
    with open(os.devnull, "w") as nowhere:  # Caffe prints all of a network it refuses
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    os.chdir(ROOT)  # LMDBs are named relative to it
    caffe.set_mode_cpu()
    net = caffe.Net(str(net_path), caffe.TEST, weights=str(weights))
    net.forward()
    sender.send(
        {b: float(np.mean(np.square(net.blobs[b].data, dtype=float))) for b in blobs}
    )
