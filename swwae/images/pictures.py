"""Images as the networks read them: BGR or grey, 0..255, mean-subtracted.

What is subtracted, and which LMDBs hold the images, is read from the data layers of a
network's train_val.prototxt, so that it is said in one place.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from generator.errors import UserError


def to_picture(image: np.ndarray) -> Image.Image:
    """A PIL image, grey or RGB, of uint8 (C, h, w), C = 1 or 3 (BGR)."""
    if image.shape[0] == 1:
        return Image.fromarray(image[0])
    return Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))


def from_picture(picture: Image.Image) -> np.ndarray:
    """uint8 (C, h, w), C = 1 or 3 (BGR), of a PIL image, grey or RGB."""
    values = np.asarray(picture)
    if values.ndim == 2:
        return values[np.newaxis].copy()
    return values.transpose(2, 0, 1)[::-1].copy()


def _grey_or_colour(picture: Image.Image) -> Image.Image:
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def read_image(path: Path) -> np.ndarray:
    """uint8 (C, h, w) of an image file; raises UserError when it is none."""
    try:
        with Image.open(path) as picture:
            return from_picture(_grey_or_colour(picture))
    except FileNotFoundError:
        raise UserError(f"there is no image {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; an image file was expected.") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None
