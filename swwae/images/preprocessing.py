"""From an image to a network's `data` blob: BGR or grey, 0..255, mean-subtracted.

It does what the fork's data layers do in tests, with the same OpenCV functions.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from generator.data_kinds import colour
from generator.errors import UserError
from generator.layers import shape_text
from swwae.images.pictures import from_picture, to_picture
from swwae.nets.transformation import Transformation

UNSCALED = -1
"""As a shorter edge: an image keeps its size."""

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

    @classmethod
    def of(
        cls, transformation: Transformation, shape: tuple[int, int, int]
    ) -> "Preprocessing":
        """Returns what a data layer does in tests. shape: of its `data` blob."""
        return cls(
            shape,
            transformation.mean or (0.0,),
            transformation.shorter_edge
            or (UNSCALED if transformation.crop_size else 0),
            transformation.center_square,
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float32 (C, H, W), mean-subtracted, of a uint8 image (C, h, w)."""
        return self.centred(self.framed(image))

    def refusal(self, shape: tuple[int, ...], floats: bool = False) -> str | None:
        """Returns why Caffe's data layer does not take a database's image of a shape
        (channels, height, width); None where it does.

        It is a clause, after the image. floats: whether it is of floats. Whole images
        may be larger than `self.shape`.
        """
        if shape[0] != self.shape[0]:
            return (
                f"and the network reads {colour(self.shape[0])} images: make the"
                f" database again in {colour(self.shape[0])}."
            )
        if floats and (self.shorter_edge > 0 or self.center_square):
            return (
                "of floating-point numbers (float_data), which Caffe cannot resize:"
                " make the database again in the size that the network reads."
            )
        if self.shorter_edge > 0:
            return None
        size, wanted = shape[1:], self.shape[1:]
        if self.center_square and not self.whole:
            size = (min(size),) * 2
        if size == wanted or (
            (self.whole or self.shorter_edge == UNSCALED)
            and size[0] >= wanted[0]
            and size[1] >= wanted[1]
        ):
            return None
        return (
            f"and the network reads {shape_text(self.shape)} (channels x height x"
            " width): make the database again in that size, or write shorter_edge and"
            " crop_size in the transform_param that resize and crop the images."
        )

    def framed(self, image: np.ndarray) -> np.ndarray:
        """Returns (C, H, W) of uint8 or float32 (C, h, w): channels and size are made
        to fit, the centre is taken.

        Raises UserError where the network reads
        neither grey nor colour, and the image has not its channels.
        """
        channels, height, width = self.shape
        if image.shape[0] != channels:
            if channels not in (1, 3):
                raise UserError(
                    f"the network reads {channels}-channel images, and a"
                    f" {colour(image.shape[0])} one was given; its database's are"
                    " val:N and train:N."
                )
            picture = to_picture(image).convert("L" if channels == 1 else "RGB")
            image = from_picture(picture)
        if self.center_square and not self.whole:
            side = min(image.shape[1:])
            image = _centre(image, side, side)
        image = resized(image, *self._size(*image.shape[1:]))
        return image if self.whole else _centre(image, height, width)

    def centred(self, pixels: np.ndarray) -> np.ndarray:
        """Returns float32, mean-subtracted, of uint8 or float32 (..., C, H, W)."""
        return pixels.astype(np.float32) - self._mean()

    def pixels(self, unit: np.ndarray) -> np.ndarray:
        """Returns uint8 (C, H, W) of mean-subtracted values in units of [0, 1], such as
        dec:data; what lies outside 0..255 is clipped."""
        return np.clip(np.rint(unit * 255 + self._mean()), 0, 255).astype(np.uint8)

    def _mean(self) -> np.ndarray:
        return np.asarray(self.mean, np.float32).reshape(-1, 1, 1)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Returns what an image is resized to before the crop."""
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
    """Returns (C, height, width) of uint8 or float32 (C, h, w), as the fork resizes
    uint8.

    OpenCV's INTER_LINEAR; INTER_AREA where the shorter edge shrinks by more than
    AREA_ABOVE (fork/src/src/caffe/util/augmentation.cpp).
    """
    channels, *before = image.shape
    if tuple(before) == (height, width):
        return image
    shrinks = min(before) / min(height, width) > AREA_ABOVE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    result = np.empty((channels, height, width), image.dtype)
    for plane, target in zip(np.ascontiguousarray(image), result, strict=True):
        cv2.resize(plane, (width, height), target, interpolation=method)
    return result
