"""CIFAR-10 and CIFAR-100, of their binary or Python versions, as train and test."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import array_pickles, source_files
from swwae.datasets.labelled_images import LabelledImages
from swwae.datasets.source_files import Content

HOME = ROOT / "data"
"""Where the folders of the two sets are."""

SIDE = 32
PIXELS = 3 * SIDE * SIDE
IMAGES = {"train": 50_000, "test": 10_000}

ARCHIVES = (
    "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, cifar-100-binary.tar.gz or"
    " cifar-100-python.tar.gz"
)

NETWORK = "vgg8_32"


@dataclass(frozen=True)
class Version:
    """One of the four forms in which the sets are offered.

    name: of the set. files: by split. images: of each split. labels: "fine", or
    "coarse" of superclasses. label_bytes: before the pixels of an image of the binary
    version. names_in: the file with the names of the classes. label, names: keys of a
    pickle.
    """

    name: str
    files: Mapping[str, tuple[str, ...]]
    images: Mapping[str, int]
    classes: int
    labels: str
    names_in: str
    label_byte: int = 0
    label_bytes: int = 1
    pickled: bool = False
    label: str = ""
    names: str = ""

    @property
    def home(self) -> Path:
        """Where its databases go."""
        return HOME / self.name


_TEN = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")


def _ten(suffix: str, **fields: Any) -> Version:
    files = {
        "train": tuple(f"{name}{suffix}" for name in _TEN),
        "test": (f"test_batch{suffix}",),
    }
    return Version("cifar10", files, IMAGES, 10, "fine", **fields)


def _hundred(suffix: str, kind: str, **fields: Any) -> Version:
    files = {"train": (f"train{suffix}",), "test": (f"test{suffix}",)}
    classes = 20 if kind == "coarse" else 100
    return Version("cifar100", files, IMAGES, classes, kind, **fields)


def versions(coarse: bool) -> tuple[Version, ...]:
    """Returns the four forms. coarse: CIFAR-100's 20 superclasses are its classes."""
    kind = "coarse" if coarse else "fine"
    return (
        _ten(".bin", names_in="batches.meta.txt"),
        _ten(
            "",
            names_in="batches.meta",
            pickled=True,
            label="labels",
            names="label_names",
        ),
        _hundred(
            ".bin",
            kind,
            names_in=f"{kind}_label_names.txt",
            label_byte=0 if coarse else 1,
            label_bytes=2,
        ),
        _hundred(
            "",
            kind,
            names_in="meta",
            pickled=True,
            label=f"{kind}_labels",
            names=f"{kind}_label_names",
        ),
    )


@dataclass(frozen=True)
class Cifar:
    """sets: "train" and "test". classes: their names, by label; None without any."""

    version: Version
    sets: Mapping[str, LabelledImages]
    classes: list[str] | None


def read(
    source: Path, scratch: Path, *, coarse: bool = False, subset: bool = False
) -> Cifar:
    """Reads the set that `source` holds.

    source: an archive as it is offered, or the folder unpacked from it. scratch: a
    folder for its content. coarse: superclasses are the classes, of CIFAR-100. subset:
    files may hold fewer images than the set's. Raises UserError where a file is
    missing, damaged, or not the set's.
    """
    known = versions(coarse)
    wanted = {name for version in known for name in _files(version)}
    found = source_files.read_files(
        source, wanted | {version.names_in for version in known}, ARCHIVES, scratch
    )
    # The one of which most is there, so that what is missing of it is said.
    version = max(known, key=lambda each: len(found.keys() & _files(each)))
    source_files.require(found, sorted(_files(version)), source)
    if coarse and version.name == "cifar10":
        raise UserError(
            f"{source} is CIFAR-10, which has no superclasses: leave --coarse out"
        )
    sets = {
        split: _joined(
            [
                _read_file(
                    found[name], version, version.images[split] // len(names), subset
                )
                for name in names
            ]
        )
        for split, names in version.files.items()
    }
    return Cifar(version, sets, _classes(found.get(version.names_in), version))


def _files(version: Version) -> set[str]:
    return {name for names in version.files.values() for name in names}


def _joined(parts: list[LabelledImages]) -> LabelledImages:
    return LabelledImages(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(source for part in parts for source in part.sources),
    )


def _read_file(
    content: Content, version: Version, expected: int, subset: bool
) -> LabelledImages:
    read_it = _pickled if version.pickled else _binary
    pixels, labels = read_it(content, version)
    source_files.check_count(content, len(labels), expected, subset)
    source_files.check_labels(content.path, labels, 0, version.classes)
    # from red, green, blue to Caffe's order
    images = pixels.reshape(-1, 3, SIDE, SIDE)[:, ::-1]
    return LabelledImages(images, labels, (content.source,))


def _binary(content: Content, version: Version) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels, uint8 (n, 3072), and labels: a record of the file is one or two
    labels and the planes of red, green and blue, rows from the top."""
    size = version.label_bytes + PIXELS
    if len(content.values) % size:
        raise UserError(
            f"{content.path} has {len(content.values):,} bytes, which are no whole"
            f" number of records of {size:,}: it is truncated or another file, fetch it"
            " again"
        )
    records = content.values.reshape(-1, size)
    return records[:, version.label_bytes :], records[:, version.label_byte]


def _pickled(content: Content, version: Version) -> tuple[np.ndarray, np.ndarray]:
    batch = _dictionary(content)
    pixels, labels = batch.get("data"), batch.get(version.label)
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (PIXELS,):
        raise UserError(
            f"{content.path}: expected `data`, an array of images × {PIXELS} bytes;"
            " it is another file, fetch it again"
        )
    if not _are_labels(labels) or len(labels) != len(pixels):
        raise UserError(
            f"{content.path}: expected `{version.label}`, a list of {len(pixels)}"
            " numbers; it is damaged or another file, fetch it again"
        )
    return pixels, np.array(labels, np.int64)


def _are_labels(values: object) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and abs(value) < 2**31 for value in values
    )


def _dictionary(content: Content) -> dict[str, Any]:
    try:
        values = array_pickles.read(content.values.tobytes())
    except array_pickles.Unfit as error:
        raise UserError(
            f"{content.path} is not CIFAR's: it {error}; fetch it again"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{content.path} is not CIFAR's: it holds no dictionary")
    return {_text(key): value for key, value in values.items()}


def _classes(content: Content | None, version: Version) -> list[str] | None:
    if content is None or not version.pickled:
        return source_files.class_names(content, version.classes)
    names = _dictionary(content).get(version.names)
    texts = list(_texts(names)) if isinstance(names, list) else []
    return source_files.checked_names(content.path, texts, version.classes)


def _texts(values: Iterable[object]) -> Iterable[str]:
    return (_text(value) for value in values)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
