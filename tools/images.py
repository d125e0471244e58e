"""Images as the networks read them: BGR or grey, 0..255, mean-subtracted.

What is subtracted, and which LMDBs hold the images, is read from the data layers of a
network's train_val.prototxt, so that it is said in one place.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import lmdb
import network
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError
from PIL import Image, UnidentifiedImageError
from runs import relative
from runtime import ROOT, UserError
from scipy.sparse import csr_array

from generator.source import truncated

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


@dataclass(frozen=True)
class Database:
    """An LMDB of Datums, as a network's data layer names it."""

    path: Path
    preprocessing: Preprocessing

    def __len__(self) -> int:
        with self.open() as environment:
            return environment.stat()["entries"]

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Every image, uint8 (C, h, w), with its label, in the order of the keys."""
        with self.open() as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield self._decode(key, value)

    def image(self, index: int) -> np.ndarray:
        """The image at a place, counted from 0 in the order of the keys."""
        count = len(self)
        if not 0 <= index < count:
            raise UserError(
                f"{self.path} holds {count} images: 0 to {count - 1}, not {index}."
            )
        (key,) = self.keys([index])
        with self.open() as environment:
            return self.read(environment, key)[0]

    def keys(self, places: Iterable[int]) -> list[bytes]:
        """The keys at places, which ascend, counted from 0."""
        with self.open() as environment, environment.begin() as transaction:
            every = transaction.cursor().iternext(values=False)
            found, passed = [], 0
            for place in places:
                found.append(next(islice(every, place - passed, None)))
                passed = place + 1
        return found

    def read(self, environment: lmdb.Environment, key: bytes) -> tuple[np.ndarray, int]:
        """The image with a key, uint8 (C, h, w), and its label."""
        with environment.begin() as transaction:
            return self._decode(key, transaction.get(key))

    def _decode(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        datum = caffe_pb2.Datum()
        try:
            datum.ParseFromString(value)
            if datum.encoded:
                with Image.open(io.BytesIO(datum.data)) as picture:
                    return from_picture(_grey_or_colour(picture)), datum.label
            shape = (datum.channels, datum.height, datum.width)
            return np.frombuffer(datum.data, np.uint8).reshape(shape), datum.label
        except (
            DecodeError,
            ValueError,
            OSError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            raise UserError(
                f"{self.path}: entry {key.decode(errors='replace')} is not a readable"
                f" Datum ({error}); make the database again."
            ) from None

    def open(self) -> lmdb.Environment:
        """The LMDB, to read from; UserError where there is none."""
        if not (self.path / "data.mdb").is_file():
            create = self.path.parent / "create.py"
            known = (ROOT / create).is_file()
            raise UserError(
                f"there are no images in {self.path}; "
                + (f"make them with: {create}" if known else "it must be an LMDB.")
            )
        try:
            environment = lmdb.open(str(self.path), readonly=True, lock=False)
        except lmdb.Error as error:
            raise UserError(
                f"{self.path} cannot be opened ({error}); make the database again."
            ) from None
        if truncated(environment, self.path):
            environment.close()
            raise UserError(f"{self.path} lacks its end; make the database again.")
        return environment


def database(train_val: Path, split: str, shape: tuple[int, int, int]) -> Database:
    """The images that a network is trained ("train") or tested ("val") on, prepared as
    for tests.

    train_val: the network's train_val.prototxt. shape: of its `data` blob. Raises
    UserError when the file is missing, or has no data layer of that phase.
    """
    layers = network.read(train_val).layer
    phase = {"train": caffe_pb2.TRAIN, "val": caffe_pb2.TEST}[split]
    source = _data_layer(layers, phase)
    if source is None:
        raise UserError(
            f"{relative(train_val)} has no Data layer for the {split} images."
        )
    transform = (_data_layer(layers, caffe_pb2.TEST) or source).transform_param
    if transform.mean_file:
        raise UserError(
            f"{relative(train_val)} subtracts a mean image ({transform.mean_file});"
            " only mean_value, a number a channel, is understood here."
        )
    preprocessing = Preprocessing(
        shape,
        tuple(transform.mean_value) or (0.0,),
        transform.shorter_edge or (UNSCALED if transform.crop_size else 0),
        transform.center_square,
    )
    return Database(ROOT / source.data_param.source, preprocessing)


def _data_layer(
    layers: Iterable[caffe_pb2.LayerParameter], phase: int
) -> caffe_pb2.LayerParameter | None:
    for layer in layers:
        phases = [rule.phase for rule in layer.include]
        if layer.type == "Data" and (not phases or phase in phases):
            return layer
    return None


def trained_on_mirror_images(train_val: Path) -> bool:
    """Whether a network's training data layer mirrors images at random."""
    return any(
        layer.transform_param.mirror
        for layer in network.read(train_val).layer
        if all(rule.phase == caffe_pb2.TRAIN for rule in layer.include)
    )


def image_scale(train_val: Path) -> float:
    """What a network's data layer multiplies the mean-subtracted pixels by; 1 where it
    says nothing, or there is no such file."""
    if train_val.is_file():
        for layer in network.read(train_val).layer:
            if layer.HasField("transform_param"):
                return layer.transform_param.scale
    return 1.0
