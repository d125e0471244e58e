"""How much of a card's memory a training takes: an estimate, by the network's blobs.

Values are float32. What cuDNN's algorithms use is counted at its limit. Not counted is
what layers keep to themselves, such as dropout's masks, which is little. Of VGG-16's
swwae-all with a batch of 64 the estimate, without CUDA's own memory, is 3 % above what
was measured on an H100 in fp32: 13,664 MB, not 13,233.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import caffe
from caffe.proto import caffe_pb2

from swwae.base.processes import EndedEarly, isolated
from swwae.base.project import ROOT
from swwae.base.settings import SHARING_SETTING
from swwae.nets import building, data_layers
from swwae.nets.network import as_file, read

VALUE = 4
"""Bytes of a value."""

CONTEXT = 600 << 20
"""Bytes that CUDA and its libraries take for themselves, about (ours)."""

WORKSPACE_MB = 1024
"""That a convolution may use, unless CAFFE_CUDNN_WORKSPACE_MB says otherwise."""

SHARING = {
    *("BatchNorm", "Convolution", "Deconvolution", "Depooling", "Dropout", "Eltwise"),
    *("EuclideanLoss", "GaussianNoise", "InnerProduct", "LRN", "Pooling", "Power"),
    *("ReLU", "SafeInv", "Sigmoid", "SoftmaxWithLoss", "Split", "TanH"),
}
"""Types of layers whose blobs' gradients may share memory."""

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
    """Returns how many values a training batch's blobs and their gradients take."""
    values = sum(b.count for name, b in net.blobs.items() if not _is_copy(name))
    learnt = _with_gradients(network, net)
    gradients = {name: net.blobs[name].count for name in learnt}
    if os.environ.get(SHARING_SETTING, "1") != "1":
        return values + sum(gradients.values())
    sharing = _lifetimes(net, learnt)
    own = sum(count for name, count in gradients.items() if name not in sharing)
    return values + own + _shared(sharing, gradients)


def _is_copy(name: str) -> bool:
    """Tells whether a blob is what Caffe's Split makes of another: the same values,
    with a gradient of its own."""
    return "_split_" in name


def _with_gradients(network: caffe_pb2.NetParameter, net: caffe.Net) -> set[str]:
    """Returns the blobs through which something that is learnt can be reached."""
    rates = {
        layer.name: [spec.lr_mult for spec in layer.param]
        for layer in filter(data_layers.in_training, network.layer)
    }
    found: set[str] = set()
    for name in net.bottom_names:
        count, given = len(net.params.get(name, ())), rates.get(name, [])
        learns = count > len(given) or any(given[:count])
        if learns or found.intersection(net.bottom_names[name]):
            found.update(net.top_names[name])
    return found


def _lifetimes(net: caffe.Net, learnt: set[str]) -> dict[str, tuple[int, int]]:
    """Returns blob -> the places of the layers that make it and that read it last, of
    those whose gradients can share memory (fork/src/src/caffe/util/gradient_memory)."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    kept = {blob for blob, weight in net.blob_loss_weights.items() if weight}
    for place, (name, bottoms) in enumerate(net.bottom_names.items()):
        shares = net.layer_dict[name].type in SHARING
        tops = net.top_names[name]
        for blob in bottoms:
            if not shares:
                kept.add(blob)
            if blob not in tops:
                last[blob] = place
        for blob in tops:
            if not shares:
                kept.add(blob)
            first.setdefault(blob, place)
    return {
        blob: (first[blob], last[blob])
        for blob in net.blobs
        if blob in learnt and blob in last and blob not in kept
    }


def _shared(lifetimes: dict[str, tuple[int, int]], counts: dict[str, int]) -> int:
    """Returns how many values the memories have that Caffe shares gradients out to.

    lifetimes: in the order of Caffe's blobs. Backwards, a gradient takes the smallest
    free memory that is large enough, else the largest one, which then grows.
    """
    memories: list[int] = []
    held: dict[str, int] = {}  # blob -> the place of its memory
    for place in range(
        max((last for _, last in lifetimes.values()), default=0), -1, -1
    ):
        for blob, (_, last) in lifetimes.items():
            if last != place:
                continue
            count = counts[blob]
            free = [n for n in range(len(memories)) if n not in held.values()]
            enough = [n for n in free if memories[n] >= count]
            if enough:
                held[blob] = min(enough, key=memories.__getitem__)
            elif free:
                held[blob] = max(free, key=memories.__getitem__)
            else:
                held[blob] = len(memories)
                memories.append(0)
            memories[held[blob]] = max(memories[held[blob]], count)
        for blob, (first, _) in lifetimes.items():
            if first == place:
                del held[blob]
    return sum(memories)
