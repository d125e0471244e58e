"""Images as people hand them over: arrays of RGB or grey, names of files, in any mix.

Inside the project an image is uint8 (C, h, w), blue, green, red, or grey alone.
"""

from collections.abc import Callable, Sequence
from os import PathLike, fspath

import numpy as np

from generator.errors import UserError

Images = np.ndarray | str | PathLike | Sequence[np.ndarray | str | PathLike]

EXPECTED = (
    "uint8 arrays (N, H, W) or (N, H, W, 3), RGB, or a list of (H, W), (H, W, 3) and"
    " names of image files are expected"
)

_CONVERSIONS = {
    "u": ": of 16 bits, give (images >> 8).astype('uint8')",
    "i": ": give images.astype('uint8') where that is what they hold",
    "f": ": of values in [0, 1], give (images * 255).round().astype('uint8')",
}
"""What to do about arrays of other types, by their kind."""


def planes(images: Images, load: Callable[[str], np.ndarray]) -> list[np.ndarray]:
    """Returns uint8 (C, h, w), C = 1 or 3 (BGR), of each image.

    images: uint8, (N, H, W) of grey or (N, H, W, 3) of RGB; or a sequence, in which
    sizes and kinds differ at will, of (H, W), (H, W, 3) and names, which `load` makes
    uint8 (C, h, w) of; or one name. Raises UserError where they are anything else, or
    there is none.
    """
    if isinstance(images, str | PathLike):
        images = [images]
    if not isinstance(images, np.ndarray | Sequence):
        raise UserError(f"the images are {images!r}; {EXPECTED}.")
    if isinstance(images, np.ndarray):
        if images.ndim == 3 and images.shape[-1] == 3:
            raise UserError("a single RGB image is given as [image].")
        if images.ndim not in (3, 4):
            raise UserError(f"the images have the shape {images.shape}; {EXPECTED}.")
    found = [
        load(fspath(image))
        if isinstance(image, str | PathLike)
        else _planes(_array(image, place), place)
        for place, image in enumerate(images)
    ]
    if not found:
        raise UserError("there are no images: the list is empty.")
    return found


def _array(image: object, place: int) -> np.ndarray:
    try:
        return np.asarray(image)
    except ValueError:  # rows of several lengths
        raise UserError(f"image {place} is no array; {EXPECTED}.") from None


def _planes(image: np.ndarray, place: int) -> np.ndarray:
    if image.dtype != np.uint8:
        raise UserError(
            f"image {place} is of type {image.dtype}; {EXPECTED}, pixels in 0..255"
            f"{_CONVERSIONS.get(image.dtype.kind, '')}."
        )
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not image.size or not (grey or (image.ndim == 3 and image.shape[2] == 3)):
        raise UserError(f"image {place} has the shape {image.shape}; {EXPECTED}.")
    if grey:
        return image.reshape(1, *image.shape[:2]).copy()
    return np.ascontiguousarray(image.transpose(2, 0, 1)[::-1])


def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """Returns uint8 (N, H, W) of grey or (N, H, W, 3), RGB, of uint8 (C, H, W)."""
    values = np.stack(images)
    if values.shape[1] == 1:
        return values[:, 0]
    return np.ascontiguousarray(values[:, ::-1].transpose(0, 2, 3, 1))
