"""Images with their labels, and the two things done to them before storing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from generator.errors import UserError

SHUFFLE = "sorted by the raw stream of NumPy's PCG64(seed)"


def shuffled_order(count: int, seed: int) -> np.ndarray:
    """Returns the places 0 to count - 1, int64 (count), shuffled by `seed`.

    They are sorted by the raw 64-bit stream of NumPy's PCG64. NumPy promises that
    stream for good, but not what `Generator.permutation` makes of it: so the order is
    the same with every NumPy.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


@dataclass(frozen=True)
class SourceFile:
    """A file's name, and the SHA-256 of its content before any compression."""

    file: str
    sha256: str


@dataclass(frozen=True)
class LabelledImages:
    """`images`: uint8, count × channels × height × width, colour as blue, green, red;
    `labels`: whole numbers, count; -1 for none."""

    images: np.ndarray
    labels: np.ndarray
    sources: tuple[SourceFile, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.images.shape[1:]

    @property
    def classes(self) -> int:
        """How many classes there are: labels from 0 to the largest one."""
        return int(self.labels.max()) + 1

    def padded_shape(self, side: int) -> tuple[int, int, int]:
        """Returns the shape that `padded` gives; raises UserError as it does."""
        channels, height, width = self.shape
        if side < max(height, width):
            raise UserError(
                f"images of {height} × {width} do not fit into {side} × {side} pixels: "
                f"give --pad-to {max(height, width)} or more"
            )
        return channels, side, side

    def padded(self, side: int) -> LabelledImages:
        """Returns each image centred among zeros, `side` × `side` pixels.

        An odd difference puts the extra row below, the extra column to the right.
        Raises UserError where an image is larger than that.
        """
        images = np.zeros((len(self), *self.padded_shape(side)), np.uint8)
        _, height, width = self.shape
        top, left = (side - height) // 2, (side - width) // 2
        images[:, :, top : top + height, left : left + width] = self.images
        return replace(self, images=images)

    def shuffled(self, seed: int) -> LabelledImages:
        """Returns the same images in the order that `shuffled_order` gives."""
        order = shuffled_order(len(self), seed)
        return replace(self, images=self.images[order], labels=self.labels[order])
