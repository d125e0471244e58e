"""Images above what a decoder makes of their features."""

import re
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.evaluation.model import Model, squared_error
from swwae.images import unseen
from swwae.images.pictures import read_image


def load(model: Model, name: str) -> np.ndarray:
    """uint8 (C, h, w) of a file, of val:N or train:N, the N-th of the data set, or of
    unseen:NAME, as large as the network reads images."""
    match = re.fullmatch(r"(val|train):(\d+)", name)
    if match:
        return model.images(match[1]).image(int(match[2]))
    if name.startswith(unseen.PREFIX):
        prepare = model.images("val").preprocessing
        side = max(prepare.shorter_edge, *prepare.shape[1:])
        return unseen.load(name.removeprefix(unseen.PREFIX), side)
    return read_image(Path(name))


def reconstruct(
    model: Model, images: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Originals as the network saw them, reconstructions, and ||x^ - x||^2 of each.

    Images are uint8 (C, H, W); the errors are of the unclipped reconstructions, with
    pixels in [0, 1]. Raises UserError when the network has no decoder.
    """
    if not model.variant.has_decoder:
        raise UserError(
            f"{model.variant.name} has no decoder; choose sae-* or swwae-*."
        )
    prepare = model.images("val").preprocessing
    data = np.stack([prepare(image) for image in images])
    decoded = model(data).reconstructions
    originals = [prepare.pixels(image / 255) for image in data]
    copies = [prepare.pixels(image) for image in decoded]
    return originals, copies, squared_error(decoded, data)
