"""How much of a card's memory a training takes: an estimate, by the network's blobs.

Values are float32. Not counted are what cuDNN's algorithms use below their limit, and
what layers keep to themselves, such as dropout's masks, which is little.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import caffe
from caffe.proto import caffe_pb2

from swwae.base.processes import EndedEarly, isolated
from swwae.base.project import ROOT
from swwae.nets import building, data_layers
from swwae.nets.network import as_file, read

VALUE = 4
"""Bytes of a value."""

CONTEXT = 600 << 20
"""Bytes that CUDA and its libraries take for themselves, about (ours)."""

WORKSPACE_MB = 1024
"""That a convolution may use, unless CAFFE_CUDNN_WORKSPACE_MB says otherwise."""

COPIES = 3
"""Of each parameter: its value, its gradient, and the momentum."""


@dataclass(frozen=True)
class Values:
    """How many values a training holds: of parameters, for each image of a training
    batch (gradients included), and of a test batch as a whole."""

    parameters: int
    image: float
    test: int

    def bytes(self, batch: int) -> int:
        """Returns the bytes that a training takes with so many images at a time."""
        held = COPIES * self.parameters + self.image * batch + self.test
        return CONTEXT + workspace() + int(VALUE * held)


def workspace() -> int:
    """Returns the most bytes that a convolution may use beside its operands."""
    given = os.environ.get("CAFFE_CUDNN_WORKSPACE_MB", "")
    return (int(given) if given.isdecimal() else WORKSPACE_MB) << 20


def values(path: Path, batch: int) -> Values | None:
    """Returns how many values the training of a network holds; None where it cannot be
    built.

    path: of the network with both phases; batch: its images in training.
    """
    try:
        return isolated(_values_here, path, batch)
    except EndedEarly:
        return None


def smaller_batches(batch: int, iterations: int) -> Iterator[tuple[int, int]]:
    """Yields (batch, iter_size) with as many images in all, at most half as many at a
    time, the largest first.

    batch, iterations: the present ones.
    """
    total = batch * iterations
    for smaller in range(batch // 2, 0, -1):
        if total % smaller == 0:
            yield smaller, total // smaller


def _values_here(path: Path, batch: int) -> Values:
    os.chdir(ROOT)
    caffe.set_mode_cpu()
    network = read(path)
    for layer in network.layer:
        building.drop_fillers(layer)
    with as_file(network) as file:
        net = caffe.Net(str(file), caffe.TRAIN)
        parameters = sum(b.count for blobs in net.params.values() for b in blobs)
        held = _batch_values(network, net)
        del net
        test = 0
        if _has_test(network):
            net = caffe.Net(str(file), caffe.TEST)
            test = sum(b.count for n, b in net.blobs.items() if not _is_copy(n))
    return Values(parameters, held / batch, test)


def _has_test(network: caffe_pb2.NetParameter) -> bool:
    return any(
        layer.type in data_layers.DATA and data_layers.in_phase(layer, caffe_pb2.TEST)
        for layer in network.layer
    )


def _batch_values(network: caffe_pb2.NetParameter, net: caffe.Net) -> int:
    """Returns how many values a training batch's blobs and their gradients have."""
    learnt = _with_gradients(network, net)
    total = 0
    for name, blob in net.blobs.items():
        if not _is_copy(name):
            total += blob.count
        source = name if name in learnt else _source(name, learnt)
        if source is not None:
            total += blob.count
    return total


def _is_copy(name: str) -> bool:
    """Tells whether a blob is what Caffe's Split makes of another: the same values,
    with a gradient of its own."""
    return "_split_" in name


def _source(name: str, learnt: set[str]) -> str | None:
    """Returns the blob that Caffe has split into one of this name, if it has a
    gradient."""
    if not _is_copy(name):
        return None
    return next((blob for blob in learnt if name.startswith(f"{blob}_")), None)


def _with_gradients(network: caffe_pb2.NetParameter, net: caffe.Net) -> set[str]:
    """Returns the blobs through which something that is learnt can be reached."""
    found: set[str] = set()
    for layer in filter(data_layers.in_training, network.layer):
        count = len(net.params.get(layer.name, ()))
        rates = [spec.lr_mult for spec in layer.param]
        learns = count > len(rates) or any(rates[:count])
        if learns or found.intersection(layer.bottom):
            found.update(layer.top)
    return found
