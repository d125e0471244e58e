"""Images by name, and what a model's decoder makes of images."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np

from generator.errors import UserError
from generator.variants import Variant
from swwae.base.project import locate
from swwae.images import unseen
from swwae.images.database import Database
from swwae.images.pictures import read_image
from swwae.images.preprocessing import Preprocessing


class Output(NamedTuple):
    """What a network yields for a batch of N images.

    probabilities: (N, classes).
    reconstructions: (N, C, H, W), mean-subtracted, in units of [0, 1]; None where the
        network has no decoder.
    """

    probabilities: np.ndarray
    reconstructions: np.ndarray | None


class Network(Protocol):
    """What is asked of a Model here."""

    net: str
    variant: Variant
    decodes: bool
    preprocessing: Preprocessing

    def __call__(self, data: np.ndarray) -> Output: ...

    def batch_size(self, shape: tuple[int, int, int]) -> int:
        """Returns how many images (C, H, W) are computed at a time."""

    def images(self, split: str) -> Database:
        """Returns the network's training ("train") or test ("val") images."""


def load(model: Network, name: str) -> np.ndarray:
    """Returns uint8 (C, h, w) of a file, of val:N or train:N, the N-th of the data set,
    or of unseen:NAME, as large as the network reads images.

    Raises UserError where there is no such image.
    """
    match = re.fullmatch(r"(val|train):(\d+)", name)
    if match:
        return model.images(match[1]).image(int(match[2]))
    if name.startswith(unseen.PREFIX):
        prepare = model.preprocessing
        side = max(prepare.shorter_edge, *prepare.shape[1:])
        return unseen.load(name.removeprefix(unseen.PREFIX), side)
    return read_image(locate(name))


def batches(model: Network, images: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields uint8 images (C, h, w) as the network reads them, in their order.

    Each batch is float32 (N, C, H, W), mean-subtracted, as large as memory allows, of
    images that have one size then.
    """
    prepare = model.preprocessing
    framed = map(prepare.framed, images)
    for shape, alike in groupby(framed, key=lambda image: image.shape):
        alike = list(alike)
        size = model.batch_size(shape)
        for start in range(0, len(alike), size):
            yield prepare.centred(np.stack(alike[start : start + size]))


def reconstruct(
    model: Network, images: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Returns originals as the network saw them, reconstructions, and ||x^ - x||^2 of
    each.

    Images are uint8 (C, H, W), computed as many at a time as memory allows; the errors,
    (N,), are of the unclipped reconstructions, with pixels in [0, 1]. Raises UserError
    where the network has no decoder.
    """
    if not model.decodes:
        what = f"{model.variant.name} has no decoder; choose sae-* or swwae-*."
        if model.variant.has_decoder:
            what = "the fully convolutional network has no decoder; take a Model."
        raise UserError(what)
    prepare = model.preprocessing
    originals: list[np.ndarray] = []
    copies: list[np.ndarray] = []
    errors = [np.empty(0)]
    for data in batches(model, images):
        decoded = model(data).reconstructions
        originals += [prepare.pixels(image / 255) for image in data]
        copies += [prepare.pixels(image) for image in decoded]
        errors.append(squared_error(decoded, data))
    return originals, copies, np.concatenate(errors)


def squared_error(reconstructions: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Returns (N,) of ||x^ - x||^2, pixels in [0, 1] (Figure A-3): Caffe's
    EuclideanLoss is half its mean.

    reconstructions: dec:data, units of [0, 1]; data: units of 0..255; both
    mean-subtracted, so that the mean cancels.
    """
    difference = reconstructions - data / 255
    return np.square(difference, dtype=np.float64).reshape(len(data), -1).sum(axis=1)
