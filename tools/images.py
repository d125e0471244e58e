"""Images as the networks read them: BGR or grey, 0..255, mean-subtracted.

What is subtracted, and which LMDBs hold the images, is read from the data layers of a
network's train_val.prototxt, so that it is said in one place.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image, UnidentifiedImageError
from runs import relative
from runtime import ROOT, UserError

os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports every layer otherwise
import network  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402


UNSCALED = -1


@dataclass(frozen=True)
class Preprocessing:
    """What turns an image into the `data` blob.

    shape: channels, height, width of the blob.
    mean: one value a channel, in the channels' order (BGR).
    resize: length of the shorter edge before the centre crop; 0: as the crop; UNSCALED:
        as it is, as Caffe's own data layers crop.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    resize: int = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """float32 (C, H, W), mean-subtracted, of a uint8 image (C, h, w).

        An image that has the blob's size is taken as it is; any other is resized and
        its centre taken.
        """
        if image.shape != self.shape:
            image = centre_crop(image, self.shape, self.resize)
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        return image.astype(np.float32) - mean

    def pixels(self, unit: np.ndarray) -> np.ndarray:
        """uint8 (C, H, W) of mean-subtracted values in units of [0, 1] (dec:data)."""
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        return np.clip(np.rint(unit * 255 + mean), 0, 255).astype(np.uint8)


def centre_crop(
    image: np.ndarray, shape: tuple[int, int, int], resize: int = 0
) -> np.ndarray:
    """uint8 `shape` from uint8 (C, h, w): channels, size and place are made to fit.

    The shorter edge is resized (bilinear) to `resize`, or so that the crop just fits,
    and the centre taken (the paper's single-crop scheme, Section 4.3); UNSCALED, an
    image that is large enough is cropped alone.
    """
    picture = to_picture(image).convert("L" if shape[0] == 1 else "RGB")
    height, width = shape[1:]
    shorter = min(picture.size)
    scale = 1 if resize == UNSCALED else resize / shorter
    scale = max(scale, width / picture.width, height / picture.height)
    size = (
        max(width, round(picture.width * scale)),
        max(height, round(picture.height * scale)),
    )
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return from_picture(picture.crop((left, top, left + width, top + height)))


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


def read_image(path: Path) -> np.ndarray:
    """uint8 (C, h, w) of an image file; raises UserError when it is none."""
    try:
        with Image.open(path) as picture:
            picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
            return from_picture(picture)
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
        with self._open() as environment:
            return environment.stat()["entries"]

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Every image, uint8 (C, h, w), with its label, in the order of the keys."""
        with self._open() as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield self._decode(key, value)

    def image(self, index: int) -> np.ndarray:
        """The image at a place, counted from 0 in the order of the keys."""
        count = len(self)
        if not 0 <= index < count:
            raise UserError(
                f"{self.path} holds {count} images: 0 to {count - 1}, not {index}."
            )
        for place, (image, _) in enumerate(self):
            if place == index:
                return image
        raise UserError(f"{self.path} ended before image {index}.")

    def _decode(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        datum = caffe_pb2.Datum()
        try:
            datum.ParseFromString(value)
            if datum.encoded:
                picture = Image.open(io.BytesIO(datum.data))
                return from_picture(picture.convert("RGB")), datum.label
            shape = (datum.channels, datum.height, datum.width)
            return np.frombuffer(datum.data, np.uint8).reshape(shape), datum.label
        except (ValueError, OSError) as error:
            raise UserError(
                f"{self.path}: entry {key.decode(errors='replace')} is not a readable"
                f" Datum ({error}); make the database again."
            ) from None

    def _open(self) -> lmdb.Environment:
        if not (self.path / "data.mdb").is_file():
            create = self.path.parent / "create.py"
            known = (ROOT / create).is_file()
            raise UserError(
                f"there are no images in {self.path}; "
                + (f"make them with: {create}" if known else "it must be an LMDB.")
            )
        try:
            return lmdb.open(str(self.path), readonly=True, lock=False)
        except lmdb.Error as error:
            raise UserError(f"{self.path} cannot be opened: {error}") from None


def database(
    train_val: Path, split: str, shape: tuple[int, int, int], resize: int = 0
) -> Database:
    """The images that a network is trained ("train") or tested ("val") on.

    train_val: the network's train_val.prototxt. shape: of its `data` blob. resize: see
    Preprocessing. Raises UserError when the file is missing, or has no data layer of
    that phase.
    """
    phase = {"train": caffe_pb2.TRAIN, "val": caffe_pb2.TEST}[split]
    for layer in network.read(train_val).layer:
        phases = [rule.phase for rule in layer.include]
        if layer.type == "Data" and (not phases or phase in phases):
            if layer.transform_param.mean_file:
                raise UserError(
                    f"{relative(train_val)} subtracts a mean image"
                    f" ({layer.transform_param.mean_file}); only mean_value, a number a"
                    " channel, is understood here."
                )
            mean = tuple(layer.transform_param.mean_value) or (0.0,)
            path = ROOT / layer.data_param.source
            return Database(path, Preprocessing(shape, mean, resize))
    raise UserError(f"{relative(train_val)} has no Data layer for the {split} images.")


def image_scale(train_val: Path) -> float:
    """What a network's data layer multiplies the mean-subtracted pixels by; 1 where it
    says nothing, or there is no such file."""
    if train_val.is_file():
        for layer in network.read(train_val).layer:
            if layer.HasField("transform_param"):
                return layer.transform_param.scale
    return 1.0
