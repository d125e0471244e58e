"""Image files and PIL's pictures, to and from arrays as the networks have them.

These are uint8 (C, h, w): blue, green, red, or grey alone. Of 16 bits a channel the
upper 8 are taken, as OpenCV does for Caffe.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from generator.errors import UserError

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes of grey with more than 8 bits."""

UNREADABLE = (
    OSError,  # PIL.UnidentifiedImageError is one
    SyntaxError,  # Pillow's, of a broken PNG
    ValueError,
    Image.DecompressionBombError,
)
"""What is raised by pictures that cannot be decoded."""

IMREAD = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}


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
    """Returns a picture in mode L, where it is black, white or grey, else in RGB.

    Raises ValueError for one whose values are no pixels of 8 or 16 bits.
    """
    if picture.mode in DEEP:
        return Image.fromarray(_upper_bits(np.asarray(picture)))
    if picture.mode == "F":
        return Image.fromarray(_rounded(np.asarray(picture)))
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _upper_bits(values: np.ndarray) -> np.ndarray:
    least, most = values.min(), values.max()
    if least < 0 or most >= 1 << 16:
        raise ValueError(f"its values are {least} to {most}, not those of 16 bits")
    return (values >> 8).astype(np.uint8)


def _rounded(values: np.ndarray) -> np.ndarray:
    least, most = values.min(), values.max()
    if not (least >= 0 and 1 < most <= 255):
        raise ValueError(
            f"its values are floating-point numbers, {least:g} to {most:g}, not pixels"
            " of 0 to 255; save it with 8 or 16 bits a channel"
        )
    return np.rint(values).astype(np.uint8)


def decoded(content: bytes, channels: int, forced: int | None = None) -> np.ndarray:
    """Returns uint8 (C, h, w) of an encoded picture, as the data layer of a network has
    it that reads so many channels.

    forced: the channels that it decodes every picture with; None: as it is, and where
    that does not fit, as if forced. Raises what UNREADABLE has where it cannot be
    decoded.
    """
    if forced is None:
        with Image.open(io.BytesIO(content)) as picture:
            own = 1 if picture.mode in ("1", "L") else 3
            if own == channels and picture.mode not in (*DEEP, "F"):
                return from_picture(grey_or_colour(picture))
    mode = IMREAD.get(forced or channels, cv2.IMREAD_UNCHANGED)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error:  # of nothing at all
        pixels = None
    if pixels is None or pixels.dtype != np.uint8:
        raise ValueError("OpenCV cannot decode it to 8 bits a channel")
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))


def read_image(path: Path) -> np.ndarray:
    """Returns uint8 (C, h, w) of an image file; raises UserError when it is none."""
    try:
        with Image.open(path) as picture:
            return from_picture(grey_or_colour(picture))
    except FileNotFoundError:
        raise UserError(f"there is no image {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; an image file was expected.") from None
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None
