"""Learning rates and loss weights where neither the paper nor a trial gives them."""

from collections.abc import Sequence
from math import prod

from . import paper
from .layers import Layer
from .sequence import WEIGHTED, Network, Schedule, Training
from .shapes import convolution_window, pooling_window

CLASSIFIER_RATE = 0.01
"""Of stage 0, for images in units of [0, 1] (ours)."""

PIXEL_MAGNITUDE = 0.3
"""Root mean square of a mean-subtracted pixel in units of [0, 1], about (ours)."""

IMAGE_ENERGY = 0.1
"""Mean square of a mean-subtracted pixel in units of [0, 1], about (ours)."""

LOSS = 0.3
"""What each weighted loss is to be at the start, about: that of vgg8's (ours)."""

WHY = (
    "ours, estimated: a rate from the curvature of a linear decoder, a weight from the"
    " size of the activation; tools/find_lr.py and tools/balance_losses.py find better"
    " ones"
)

WHY_STACKED = "ours: a third of the smallest rate over its loss weight"
WHY_JOINT = "ours: 0.3 of stage 3's rate, a tenth of stage 0's at most"


def classifier_rate(network: Network) -> float:
    """Returns stage 0's base_lr where no solver gives one (ours): 0.01; of pixels that
    nothing brings to about 1, so much less as they are larger than those in [0, 1].

    The gradients of the first weights grow with the pixels that they read. Of 0..255, a
    LeNet diverges at 1e-4, a small VGG with MSRA's fillers at 3e-3, whose ReLUs die
    from 1e-3 on; both learn at 4e-5.
    """
    if network.magnitude <= 1:
        return CLASSIFIER_RATE
    return _rounded(CLASSIFIER_RATE * PIXEL_MAGNITUDE / network.magnitude)


def stacked_rate(rates: Sequence[float], weights: Sequence[float]) -> float:
    """Returns stage 3's base_lr from macro-layers' stage-2 rates and their losses'
    weights.

    A rate is for a loss weighted 1, so that the solver's is a rate over its weight;
    the smallest bounds the others, and a stacked decoder takes a third of it (ours).
    """
    ratios = [rate / weight for rate, weight in zip(rates, weights, strict=True)]
    return _rounded(min(ratios) / 3)


def joint_rate(stacked: float, classifier: float) -> float:
    """Returns stage 4's base_lr from stage 3's and stage 0's (ours)."""
    return min(_rounded(0.3 * stacked), _rounded(0.1 * classifier))


def estimated(
    network: Network,
    classifier: Schedule,
    batch_size: int,
    image: float | None = None,
) -> Training:
    """Returns rates and weights of every macro-layer from the network's shapes alone
    (ours).

    A decoder's last deconvolution is linear; the curvature of its squared error is the
    number of places times the energy of what one place reads, and its inverse a rate
    that does not diverge. Weights make every loss comparable (Section 4.1). For vgg8
    rates come out within a factor of 1.5, and weights of 7, of what trials gave.

    classifier: the schedule of stage 0. batch_size: images at once in stages 2 and 3.
    image: root mean square of what the first decoder yields; None: of an activation.
    """
    energy = network.magnitude**2
    read = {1: energy if image is None else _read(network, image)}
    rates = [
        1 / (_curvature(network, index) * read.get(index, energy))
        for index in _indices(network)
    ]
    weights = [
        LOSS / (prod(activation.shape) * (energy if index else IMAGE_ENERGY))
        for index, activation in enumerate(network.activations[:-1])
    ]
    stacked = stacked_rate(rates, weights)
    joint = max(1, paper.JOINT_BATCH // classifier.batch_size)
    return Training(
        loss_weights=tuple(map(_rounded, weights)),
        layerwise_lr=tuple(map(_rounded, rates)),
        schedules={
            0: classifier,
            2: Schedule(_rounded(min(rates)), 1, batch_size, WHY),
            3: Schedule(stacked, 1, batch_size, WHY),
            4: Schedule(
                joint_rate(stacked, classifier.base_lr),
                paper.JOINT_EPOCHS,
                classifier.batch_size,
                f"{WHY_JOINT}; Section 4.3: 16 epochs",
                iter_size=joint,
                weight_decay=classifier.weight_decay,
            ),
        },
    )


def _read(network: Network, image: float) -> float:
    """Returns the energy that stands for what the first decoder's layers read, where
    activations and image differ in size: of n linear layers in balance each takes its
    part of the way, and the squared gains of the others scale what one learns from."""
    layers = network.macro_layers[0].layers
    count = sum(layer.type in WEIGHTED for layer in layers)
    return (network.magnitude * image ** (count - 1)) ** (2 / count)


def _indices(network: Network) -> range:
    return range(1, network.max_depth + 1)


def _curvature(network: Network, index: int) -> float:
    """Places of the reconstruction times the weights that each sums over, for
    activations of unit energy."""
    macro = network.macro_layers[index - 1]
    shape = network.activations[index - 1].shape
    first = next(la for la in macro.layers if la.type in _FAN_IN)
    dense = 1.0
    below = shape
    for layer in macro.layers:
        if layer.type == "Pooling":
            window = pooling_window(layer, below)
            dense /= prod(window.stride) if window.stride != (1, 1) else 1
        below = layer.shape
    return max(1.0, prod(shape[1:]) * _FAN_IN[first.type](first) * dense)


def _convolution(layer: Layer) -> float:
    window = convolution_window(layer)
    taps = prod(window.kernel) / prod(window.stride)
    return taps * layer.shape[0]


def _inner_product(layer: Layer) -> float:
    return layer.shape[0]


_FAN_IN = {"Convolution": _convolution, "InnerProduct": _inner_product}


def _rounded(value: float) -> float:
    """To one significant digit: more would claim more than an estimate knows."""
    return float(f"{value:.0e}")
