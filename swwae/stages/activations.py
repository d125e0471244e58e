"""Whether training has ruined what it should have made, an encoder or a decoder.

Where macro-layers' activations are reconstruction targets, an encoder can lower those
losses by making its activations small: zero is easy to reconstruct. Their mean square
before and after training shows it. An encoder or a decoder that learns too fast may
lose all its ReLUs: what comes after them is the same for every image.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.names import DECODER, RECONSTRUCTION
from swwae.base.processes import EndedEarly, isolated
from swwae.base.project import ROOT, relative
from swwae.nets import data_layers, network

COLLAPSED = 0.1
"""Share of its mean square below which an activation has collapsed (ours)."""

ACTIVATING = {
    "Convolution",
    "Deconvolution",
    "InnerProduct",
    "ReLU",
    "PReLU",
    "ELU",
    "Sigmoid",
    "TanH",
    "BatchNorm",
}
"""Layers whose tops are activations, and depend on the image where nothing is dead.
How many values landed on a place, for instance, need not."""

JUDGING = ("Loss", "Accuracy", "Softmax")
"""In the types of layers that read a classifier's scores, which are no activation's
business: they are the same for every image where their weights are still 0."""

Change = dict[str, dict[str, float]]
"""Activation -> its mean square "before" and "after"."""


@dataclass(frozen=True)
class Diagnosis:
    """mean_squares: of the encoder's activations, where joint training reconstructs
    them. dead: the first activations that are the same for every image, in the encoder
    and, where that is alive, the decoder."""

    mean_squares: Change
    dead: Sequence[str]

    @property
    def warning(self) -> str | None:
        """Sentences on what is ruined; None where nothing is."""
        sentences = [collapse_warning(self.mean_squares), dead_warning(self.dead)]
        return " ".join(filter(None, sentences)) or None


def diagnose(net_path: Path, after: Path, before: Path | None) -> Diagnosis:
    """Returns what training made of activations, by the first test batch.

    net_path: a stage's network. after: its final weights. before: those that joint
    training began with; None for a stage that leaves the encoder as it is. Both parts
    of the diagnosis are empty where there are no test images; a batch of one image
    tells nothing of what is dead. Raises UserError where Caffe ends.
    """
    net = network.read(net_path)
    targets = _targets(net)
    if not _images(net):
        return Diagnosis({}, ())
    new = _forward(net_path, after, targets)
    dead = _earliest(net, new.constant)
    dead = [blob for blob in dead if not blob.startswith(DECODER)] or dead
    if before is None or not targets[:-1]:
        return Diagnosis({}, dead)
    old = _forward(net_path, before, targets)
    mean_squares = {
        blob: {"before": old.mean_squares[blob], "after": new.mean_squares[blob]}
        for blob in targets[:-1]
        if isfinite(old.mean_squares[blob]) and isfinite(new.mean_squares[blob])
    }
    return Diagnosis(mean_squares, dead)


def collapse_warning(mean_squares: Change) -> str | None:
    """Returns a sentence on activations that training made all but 0; None without."""
    fallen = [
        f"{blob} to {square['after'] / square['before']:.2g}"
        for blob, square in mean_squares.items()
        if square["after"] < COLLAPSED * square["before"]
    ]
    if not fallen:
        return None
    return (
        f"the encoder has collapsed: the mean square of its activations fell, of"
        f" {', of '.join(fallen)} of what it was, as zeros are easy to reconstruct."
        " Lower the loss_weight of the macro-layers' losses, and start from a trained"
        " classifier (stages 0 to 3)."
    )


def dead_warning(blobs: Sequence[str]) -> str | None:
    """Returns a sentence on the parts of a network that are dead; None without.

    blobs: of the encoder or of the decoder.
    """
    if not blobs:
        return None
    part = "decoder" if blobs[0].startswith(DECODER) else "encoder"
    return (
        f"a part of the {part} is dead: {', '.join(blobs)} is the same for every"
        " image, as too large a learning rate puts out ReLUs for good. Lower base_lr of"
        " the first stage that warns of it (generator: --base-lr STAGE=X, for all"
        " variants), and make it and those after it anew."
    )


def _targets(net: caffe_pb2.NetParameter) -> list[str]:
    """Returns the blobs that a network's reconstruction losses compare with, from the
    deepest one on; the last is the image, which is none of the encoder's."""
    return [la.bottom[1] for la in net.layer if la.name.startswith(RECONSTRUCTION)]


def _earliest(net: caffe_pb2.NetParameter, constant: set[str]) -> list[str]:
    """Returns the activations among blobs that are the same for every image, without
    those that are so because one before them is."""
    activations = _activations(net)
    dead: dict[str, None] = {}
    explained: set[str] = set()
    for layer in net.layer:
        before = explained.union(dead).intersection(layer.bottom)
        for blob in constant.intersection(layer.top).difference(dead):
            if before:
                explained.add(blob)
            elif blob in activations:
                dead[blob] = None
    return list(dead)


def _activations(net: caffe_pb2.NetParameter) -> set[str]:
    """Returns the blobs that must depend on the image."""
    scores = {
        blob
        for layer in net.layer
        if any(word in layer.type for word in JUDGING)
        and not layer.name.startswith(RECONSTRUCTION)
        for blob in layer.bottom
    }
    found = {layer.top[0] for layer in net.layer if layer.type in ACTIVATING}
    return found - scores


def _images(net: caffe_pb2.NetParameter) -> list[str]:
    """Returns what the data layers of tests yield, images and labels."""
    return [
        blob
        for layer in net.layer
        if layer.type in data_layers.DATA
        and data_layers.in_phase(layer, caffe_pb2.TEST)
        for blob in layer.top
    ]


@dataclass(frozen=True)
class _Forward:
    """What one batch gave. mean_squares: of the targets; constant: the blobs that are
    the same for all images, where those differ."""

    mean_squares: dict[str, float]
    constant: set[str]


def _forward(net_path: Path, weights: Path, targets: list[str]) -> _Forward:
    """Runs a batch in a process of its own, which Caffe may end, and which gives the
    memory back."""
    try:
        return isolated(_forward_here, net_path, weights, targets)
    except EndedEarly:
        raise UserError(
            f"Caffe ended while it ran {relative(net_path)} with {relative(weights)}."
        ) from None


def _forward_here(net_path: Path, weights: Path, targets: list[str]) -> _Forward:
    os.chdir(ROOT)  # LMDBs are named relative to it
    caffe.set_mode_cpu()
    net = caffe.Net(str(net_path), caffe.TEST, weights=str(weights))
    net.forward()
    same = {name for name, blob in net.blobs.items() if _is_constant(blob.data)}
    images = [b for b in _images(network.read(net_path)) if net.blobs[b].data.ndim > 1]
    constant = set() if same.issuperset(images) else same
    mean_squares = {
        name: float(np.mean(np.square(net.blobs[name].data, dtype=float)))
        for name in targets
    }
    return _Forward(mean_squares, constant)


def _is_constant(values: np.ndarray) -> bool:
    """Tells whether a blob is the same for every image; a loss is not, without their
    axis."""
    return values.ndim > 1 and bool(np.all(values == values[0]))
