"""The LMDBs of images that a network is trained and tested on.

Which they are is read from the data layers of its train_val.prototxt.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from pathlib import Path

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from generator.data_sources import a_file
from generator.errors import UserError
from generator.layers import shape_text
from generator.lmdb_pages import Damaged, LmdbFile, check_pages
from swwae.base.project import ROOT, relative
from swwae.images.pictures import UNREADABLE, decoded
from swwae.images.preprocessing import Preprocessing
from swwae.nets import databases, network
from swwae.nets.network import Shape
from swwae.nets.transformation import data_layer, transformation


@dataclass(frozen=True)
class Database:
    """An LMDB of Datums, as a network's data layer names it.

    Its images are uint8 (C, h, w), or float32 where the Datums hold floats. They are
    what the data layer takes: of one that it would refuse, UserError says so, but a
    picture is decoded with the network's channels in any case.

    forced: the channels that the layer decodes every picture with; None: their own.
    """

    path: Path
    preprocessing: Preprocessing
    forced: int | None = None

    def __len__(self) -> int:
        with self.open() as environment:
            return environment.stat()["entries"]

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yields each image, (C, h, w), and its label, in the keys' order."""
        with self.whole() as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield self._decode(key, value)

    def image(self, index: int) -> np.ndarray:
        """Returns the image at a place, counted from 0 in the order of the keys, as
        (C, h, w); raises UserError for a place that there is not."""
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
        """Returns the image with a key, (C, h, w), and its label.

        Raises UserError where it is no image, or none that the network takes.
        """
        with environment.begin() as transaction:
            return self._decode(key, transaction.get(key))

    def of_size(self, height: int, width: int) -> "Database":
        """Returns the same database, whose images the network takes in that size."""
        shape = self.preprocessing.shape[0], height, width
        return replace(self, preprocessing=replace(self.preprocessing, shape=shape))

    def first_size(self) -> tuple[int, int]:
        """Returns height and width of the first image, whether it fits or not.

        Raises UserError where there is none.
        """
        with self.whole() as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                return self._values(key, value)[0].shape[1:]
        raise UserError(f"{self.path} holds no images; make the database again.")

    def refusal(self, which: str, shape: Shape, floats: bool = False) -> str | None:
        """Returns why the data layer refuses an image of a shape (channels, height,
        width), a sentence; None where it takes it.

        which: the image, as a person is told. floats: whether it is of floats.
        """
        fault = self.preprocessing.refusal(shape, floats)
        return fault and f"{which} is of {shape_text(shape)} values, {fault}"

    def _decode(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        image, label = self._values(key, value)
        which = f"entry {key.decode(errors='replace')} of {relative(self.path)}"
        if fault := self.refusal(which, image.shape, image.dtype != np.uint8):
            raise UserError(fault)
        return image, label

    def _values(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        datum = caffe_pb2.Datum()
        try:
            datum.ParseFromString(value)
            if datum.encoded:
                channels = self.preprocessing.shape[0]
                return decoded(datum.data, channels, self.forced), datum.label
            return _unencoded(datum), datum.label
        except (DecodeError, *UNREADABLE) as error:
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


def _unencoded(datum: caffe_pb2.Datum) -> np.ndarray:
    """Returns uint8 or float32 (C, h, w), as Caffe reads them: the bytes, if there are
    any, and no more of them than the shape says. Raises ValueError."""
    shape = datum.channels, datum.height, datum.width
    wanted, held = prod(shape), len(datum.data)
    if not held:
        return np.array(datum.float_data[:wanted], np.float32).reshape(shape)
    if wanted and held in (2 * wanted, 4 * wanted, 8 * wanted):
        raise ValueError(f"it has {held // wanted} bytes a value, expected one")
    return np.frombuffer(datum.data[:wanted], np.uint8).reshape(shape)


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
    tests = transformation(train_val, "val")
    return Database(
        ROOT / source.data_param.source, Preprocessing.of(tests, shape), tests.forced
    )


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
