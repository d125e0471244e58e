"""Images as the networks read them: BGR or grey, 0..255, mean-subtracted.

What is subtracted, and which LMDBs hold the images, is read from the data layers of a
network's train_val.prototxt, so that it is said in one place.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError
from PIL import Image

from generator.errors import UserError
from generator.source import truncated
from swwae.base.project import ROOT, relative
from swwae.images.pictures import _grey_or_colour, from_picture
from swwae.images.preprocessing import UNSCALED, Preprocessing
from swwae.nets import network


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
