"""Image files and PIL's pictures, to and from arrays as the networks have them.

These are uint8 (C, h, w): blue, green, red, or grey alone.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from generator.errors import UserError


def to_picture(image: np.ndarray) -> Image.Image:
    """Returns a PIL image, grey or RGB, of uint8 (C, h, w), C = 1 or 3 (BGR)."""
    if image.shape[0] == 1:
        return Image.fromarray(image[0])
    return Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))


def from_picture(picture: Image.Image) -> np.ndarray:
    """Returns uint8 (C, h, w), C = 1 or 3 (BGR), of a PIL image, grey or RGB."""
    values = np.asarray(picture)
    if values.ndim == 2:
        return values[np.newaxis].copy()
    return values.transpose(2, 0, 1)[::-1].copy()


def grey_or_colour(picture: Image.Image) -> Image.Image:
    """Returns a picture in mode L, where it is black, white or grey, else in RGB."""
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def read_image(path: Path) -> np.ndarray:
    """Returns uint8 (C, h, w) of an image file; raises UserError when it is none."""
    try:
        with Image.open(path) as picture:
            return from_picture(grey_or_colour(picture))
    except FileNotFoundError:
        raise UserError(f"there is no image {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; an image file was expected.") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None
