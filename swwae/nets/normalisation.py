"""How pixels become what a network reads, and its first layer for other ways of it.

Caffe's networks here read BGR in 0..255 less a mean, torchvision's RGB in [0, 1] less a
mean and over a standard deviation. Both are affine in every channel, so that the first
layer's weights and bias can take up the difference: exactly, but for zero padding. The
zeros around an image stand for a pixel that equals the mean; where the means differ, so
does what the first layer makes of the border (ours: no source has this).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generator.layers import Shape
from generator.shapes import Window


@dataclass(frozen=True)
class Normalisation:
    """x = (pixel - mean) / std in every channel, pixels in [0, 1].

    mean, std: one number a channel, in the order in which the channels are read.
    bgr: that order is blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    def reordered(self, bgr: bool) -> "Normalisation":
        """Returns the same with its channels in that order."""
        if bgr == self.bgr:
            return self
        return Normalisation(self.mean[::-1], self.std[::-1], bgr)

    def __str__(self) -> str:
        order = "BGR" if self.bgr else "RGB"
        order = {1: "grey", 3: order}.get(len(self.mean), f"{len(self.mean)} channels")
        mean = [255 * value for value in self.mean]
        if {numbers([255 * value]) for value in self.std} == {"1"}:
            return f"{order} in 0..255 less {numbers(mean)}"
        return f"{order} in [0, 1], mean {numbers(self.mean)}, std {numbers(self.std)}"


TORCHVISION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What torchvision's pretrained classifiers are given."""


def numbers(values: Sequence[float]) -> str:
    """Returns numbers as 0.485,0.456,0.406: six digits at most."""
    return ",".join(f"{value:.6g}" for value in values)


def converted(
    weights: np.ndarray, read: Normalisation, wanted: Normalisation
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a first layer's weights for images normalised as `wanted`, and what its
    bias grows by, so that it yields what it did for those normalised as `read`.

    weights: (outputs, channels, ...). Both results are float64; the second (outputs,).
    """
    ordered, factor, shift = _difference(weights, read, wanted)
    channels = (1, -1) + (1,) * (weights.ndim - 2)
    added = (ordered * shift.reshape(channels)).sum(axis=tuple(range(1, weights.ndim)))
    return ordered * factor.reshape(channels), added


def border_change(
    weights: np.ndarray,
    read: Normalisation,
    wanted: Normalisation,
    window: Window,
    plane: Shape,
) -> float:
    """Returns the largest change that `converted` leaves in an output whose window
    reaches into the zero padding; 0 where none does, or the means are the same.

    weights: (outputs, channels, height, width). plane: height, width of the image.
    """
    ordered, _, shift = _difference(weights, read, wanted)
    taps = np.einsum("ochw,c->ohw", ordered, shift)
    rows, columns = (_inside(window, plane, axis) for axis in (0, 1))
    outside = 1 - np.einsum("yh,xw->yxhw", rows, columns)
    return float(np.abs(np.einsum("yxhw,ohw->oyx", outside, taps)).max())


def _difference(
    weights: np.ndarray, read: Normalisation, wanted: Normalisation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights in the wanted order of channels, and x_read = factor x_wanted + shift."""
    ordered = weights.astype(np.float64)
    if read.bgr != wanted.bgr:
        ordered = ordered[:, ::-1]
    read = read.reordered(wanted.bgr)
    std = np.array(read.std, np.float64)
    factor = np.array(wanted.std, np.float64) / std
    shift = (np.array(wanted.mean, np.float64) - np.array(read.mean)) / std
    return ordered, factor, np.where(np.abs(shift) < ROUNDING, 0, shift)


ROUNDING = 1e-6
"""Means that are so close, in standard deviations, are the same in float32."""


def _inside(window: Window, plane: Shape, axis: int) -> np.ndarray:
    """Returns which of a window's taps lie in the plane: each different row once, 0 or
    1."""
    count = window.convolved(plane)[axis]
    starts = np.arange(count) * window.stride[axis] - window.pad[axis]
    taps = np.arange(window.kernel[axis]) * window.dilation[axis]
    places = starts[:, None] + taps
    inside = (places >= 0) & (places < plane[axis])
    return np.unique(inside, axis=0).astype(np.float64)
