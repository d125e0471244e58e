"""Images as the networks read them: BGR or grey, 0..255, mean-subtracted.

What is subtracted, and which LMDBs hold the images, is read from the data layers of a
network's train_val.prototxt, so that it is said in one place.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from swwae.images.pictures import from_picture, to_picture

UNSCALED = -1


AREA_ABOVE = 2
"""Images that shrink by more are averaged over areas, all others interpolated."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns an image into the `data` blob, as the fork's data layers do in tests.

    shape: channels, height, width of the blob.
    mean: one value a channel, in the channels' order (BGR).
    shorter_edge: pixels that the shorter edge is resized to before the centre is
        cropped; 0: as the crop takes; UNSCALED: as it is, unless it is too small.
    center_square: the centre square is taken before anything else.
    whole: nothing is cut off (the paper's "convolution" scheme, Section 4.3); an image
        is at least as large as `shape`.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    shorter_edge: int = 0
    center_square: bool = False
    whole: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """float32 (C, H, W), mean-subtracted, of a uint8 image (C, h, w)."""
        return self.centred(self.framed(image))

    def framed(self, image: np.ndarray) -> np.ndarray:
        """uint8 (C, H, W) of uint8 (C, h, w): channels, size and place made to fit."""
        channels, height, width = self.shape
        if image.shape[0] != channels:
            picture = to_picture(image).convert("L" if channels == 1 else "RGB")
            image = from_picture(picture)
        if self.center_square and not self.whole:
            side = min(image.shape[1:])
            image = _centre(image, side, side)
        image = resized(image, *self._size(*image.shape[1:]))
        return image if self.whole else _centre(image, height, width)

    def centred(self, pixels: np.ndarray) -> np.ndarray:
        """float32, mean-subtracted, of uint8 (..., C, H, W)."""
        return pixels.astype(np.float32) - self._mean()

    def pixels(self, unit: np.ndarray) -> np.ndarray:
        """uint8 (C, H, W) of mean-subtracted values in units of [0, 1] (dec:data)."""
        return np.clip(np.rint(unit * 255 + self._mean()), 0, 255).astype(np.uint8)

    def _mean(self) -> np.ndarray:
        return np.asarray(self.mean, np.float32).reshape(-1, 1, 1)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """What an image is resized to before the crop."""
        least_height, least_width = self.shape[1:]
        shorter = min(height, width)
        if self.shorter_edge > 0:
            # In this order, as the fork: the product is exact.
            size = tuple(
                round(side * self.shorter_edge / shorter) for side in (height, width)
            )
        elif self.shorter_edge == UNSCALED or self.whole:
            size = height, width
        else:
            size = 0, 0
        if size[0] >= least_height and size[1] >= least_width:
            return size
        scale = max(least_height / height, least_width / width)
        return (
            max(least_height, round(height * scale)),
            max(least_width, round(width * scale)),
        )


def _centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(C, height, width) from the middle of a larger (C, h, w)."""
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (C, height, width) of uint8 (C, h, w), as the fork resizes, within 1.

    Bilinear between pixel centres, without smoothing; averages over areas where the
    shorter edge shrinks by more than AREA_ABOVE (OpenCV's INTER_LINEAR and INTER_AREA).
    """
    channels, high, wide = image.shape
    if (high, wide) == (height, width):
        return image
    shrinks = min(high, wide) / min(height, width) > AREA_ABOVE
    weights = _area_weights if shrinks else _linear_weights
    rows = image.transpose(1, 0, 2).reshape(high, channels * wide)
    rows = weights(high, height) @ rows.astype(np.float32)
    columns = rows.reshape(height * channels, wide).T
    columns = weights(wide, width) @ np.ascontiguousarray(columns)
    pixels = (columns + 0.5).astype(np.uint8)
    pixels = pixels.reshape(width, height, channels).transpose(2, 1, 0)
    return np.ascontiguousarray(pixels)


@lru_cache(maxsize=64)
def _linear_weights(size: int, wanted: int) -> csr_array:
    """(wanted, size): each result from its two nearest pixels."""
    at = (np.arange(wanted) + 0.5) * (size / wanted) - 0.5
    at = np.clip(at, 0, size - 1)
    before = np.minimum(at.astype(int), max(size - 2, 0))
    share = at - before
    result = np.arange(wanted)
    return csr_array(
        (
            np.concatenate([1 - share, share]).astype(np.float32),
            (
                np.concatenate([result, result]),
                np.concatenate([before, np.minimum(before + 1, size - 1)]),
            ),
        ),
        shape=(wanted, size),
    )


@lru_cache(maxsize=64)
def _area_weights(size: int, wanted: int) -> csr_array:
    """(wanted, size): each result from the pixels of its equal share of the edge."""
    ends = np.linspace(0, size, wanted + 1)
    pixel = np.arange(size)
    first, last = ends[:-1, np.newaxis], ends[1:, np.newaxis]
    covered = np.minimum(last, pixel + 1) - np.maximum(first, pixel)
    weights = np.maximum(covered, 0) * (wanted / size)
    return csr_array(weights.astype(np.float32))
