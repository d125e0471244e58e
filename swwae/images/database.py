"""The LMDBs of images that a network is trained and tested on.

Which they are is read from the data layers of its train_val.prototxt.
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

from generator.data_sources import a_file
from generator.errors import UserError
from generator.lmdb_pages import Damaged, LmdbFile, check_pages
from swwae.base.project import ROOT, relative
from swwae.images.pictures import from_picture, grey_or_colour
from swwae.images.preprocessing import Preprocessing
from swwae.nets import databases, network
from swwae.nets.transformation import data_layer, transformation


@dataclass(frozen=True)
class Database:
    """An LMDB of Datums, as a network's data layer names it."""

    path: Path
    preprocessing: Preprocessing

    def __len__(self) -> int:
        with self.open() as environment:
            return environment.stat()["entries"]

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yields each image, uint8 (C, h, w), and its label, in the keys' order."""
        with self.whole() as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield self._decode(key, value)

    def image(self, index: int) -> np.ndarray:
        """Returns the image at a place, counted from 0 in the order of the keys, as
        uint8 (C, h, w); raises UserError for a place that there is not."""
        count = len(self)
        if not 0 <= index < count:
            raise UserError(
                f"{self.path} holds {count} images: 0 to {count - 1}, not {index}."
            )
        (key,) = self.keys([index])
        with self.open() as environment:
            return self.read(environment, key)[0]

    def keys(self, places: Iterable[int]) -> list[bytes]:
        """Returns the keys at places, which ascend, counted from 0."""
        with self.whole() as environment, environment.begin() as transaction:
            every = transaction.cursor().iternext(values=False)
            found, passed = [], 0
            for place in places:
                found.append(next(islice(every, place - passed, None)))
                passed = place + 1
        return found

    def read(self, environment: lmdb.Environment, key: bytes) -> tuple[np.ndarray, int]:
        """Returns the image with a key, uint8 (C, h, w), and its label.

        Raises UserError where it is no image.
        """
        with environment.begin() as transaction:
            return self._decode(key, transaction.get(key))

    def _decode(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        datum = caffe_pb2.Datum()
        try:
            datum.ParseFromString(value)
            if datum.encoded:
                with Image.open(io.BytesIO(datum.data)) as picture:
                    return from_picture(grey_or_colour(picture)), datum.label
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

    def whole(self) -> lmdb.Environment:
        """Opens the LMDB as `open` does, once its pages have been found in order."""
        environment = self.open()
        try:
            self.check()
        except BaseException:
            environment.close()
            raise
        return environment

    def check(self) -> None:
        """Raises UserError where LMDB would end the process over the LMDB's pages."""
        try:
            check_pages(self.path)
        except Damaged as error:
            raise UserError(f"{self.path} {error}; make the database again.") from None

    def open(self) -> lmdb.Environment:
        """Opens the LMDB to read from; raises UserError where there is none."""
        if not (self.path / "data.mdb").is_file():
            if self.path.is_file():
                raise UserError(f"{relative(self.path)} is {a_file(self.path)}.")
            create = databases.how_made(self.path)
            raise UserError(
                f"there are no images in {self.path}; "
                + (f"make them with: {create}" if create else "it must be an LMDB.")
            )
        try:
            LmdbFile(self.path).close()  # or LMDB might end the process
            return lmdb.open(str(self.path), readonly=True, lock=False)
        except Damaged as error:
            raise UserError(f"{self.path} {error}; make the database again.") from None
        except lmdb.Error as error:
            raise UserError(
                f"{self.path} cannot be opened ({error}); make the database again."
            ) from None


def database(train_val: Path, split: str, shape: tuple[int, int, int]) -> Database:
    """Returns the images that a network is trained ("train") or tested ("val") on,
    prepared as for tests.

    train_val: the network's train_val.prototxt. shape: of its `data` blob. Raises
    UserError when the file is missing, has no data layer of that phase, or subtracts a
    mean image.
    """
    source = data_layer(network.read(train_val), split, kinds=("Data",))
    if source is None:
        raise UserError(
            f"{relative(train_val)} has no Data layer for the {split} images."
        )
    preprocessing = Preprocessing.of(transformation(train_val, "val"), shape)
    return Database(ROOT / source.data_param.source, preprocessing)


def first_of_each_class(
    images: Iterable[tuple[np.ndarray, int]], most: int, among: int | None = None
) -> dict[int, tuple[int, np.ndarray]]:
    """Returns label -> place, and image (C, h, w), of the first image of each class.

    The labels ascend. most: classes, those that appear first. among: the first so many
    images; None: all.
    """
    found: dict[int, tuple[int, np.ndarray]] = {}
    for place, (image, label) in enumerate(islice(images, among)):
        found.setdefault(label, (place, image))
        if len(found) == most:
            break
    return dict(sorted(found.items()))
