"""STL-10's binary version as train, test, and unlabelled images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import source_files
from swwae.datasets.labelled_images import LabelledImages
from swwae.datasets.source_files import Content

HOME = ROOT / "data" / "stl10"
SIDE = 96
PIXELS = 3 * SIDE * SIDE
CLASSES = 10
IMAGES = {"train": 5_000, "test": 8_000, "unlabelled": 100_000}

LABELLED = ("train", "test")
UNLABELLED_FILE = "unlabeled_X.bin"
NAMES_FILE = "class_names.txt"

ARCHIVE = "stl10_binary.tar.gz"
NETWORK = "vgg10_96"


@dataclass(frozen=True)
class Stl10:
    """sets: "train", "test" and, where it is wanted, "unlabelled". classes: their
    names, by label; None without the file of them."""

    sets: Mapping[str, LabelledImages]
    classes: list[str] | None


def read(
    source: Path, scratch: Path, *, unlabelled: bool = True, subset: bool = False
) -> Stl10:
    """Reads the set that `source` holds; labels count from 0, as Caffe wants them.

    source: stl10_binary.tar.gz, or the folder unpacked from it. scratch: a folder for
    its content, where it is a tar. unlabelled: whether to read the images without
    labels. subset: files may hold fewer images than the set's. Raises UserError where a
    file is missing, damaged, or not the set's.
    """
    wanted = [f"{split}_{kind}.bin" for split in LABELLED for kind in "Xy"]
    wanted += [UNLABELLED_FILE] if unlabelled else []
    found = source_files.read_files(source, [*wanted, NAMES_FILE], ARCHIVE, scratch)
    source_files.require(found, wanted, source)
    sets = {}
    for split in LABELLED:
        content = found[f"{split}_X.bin"], found[f"{split}_y.bin"]
        sets[split] = _labelled(*content, IMAGES[split], subset)
    if unlabelled:
        content = found[UNLABELLED_FILE]
        images = _images(content, IMAGES["unlabelled"], subset)
        without = np.full(len(images), -1)
        sets["unlabelled"] = LabelledImages(images, without, (content.source,))
    return Stl10(sets, source_files.class_names(found.get(NAMES_FILE), CLASSES))


def _labelled(
    pixels: Content, labels: Content, expected: int, subset: bool
) -> LabelledImages:
    images = _images(pixels, expected, subset)
    if len(labels.values) != len(images):
        raise UserError(
            f"{pixels.path} holds {len(images):,} images, {labels.path}"
            f" {len(labels.values):,} labels: they do not belong together, fetch them"
            " again"
        )
    source_files.check_labels(labels.path, labels.values, 1, CLASSES)
    return LabelledImages(
        images, labels.values.astype(np.int64) - 1, (pixels.source, labels.source)
    )


def _images(content: Content, expected: int, subset: bool) -> np.ndarray:
    """Returns uint8 (n, 3, 96, 96), BGR: the file has planes of red, green and blue,
    each column by column."""
    if len(content.values) % PIXELS:
        raise UserError(
            f"{content.path} has {len(content.values):,} bytes, which are no whole"
            f" number of images of {PIXELS:,}: it is truncated or another file, fetch"
            " it again"
        )
    images = content.values.reshape(-1, 3, SIDE, SIDE)
    source_files.check_count(content, len(images), expected, subset)
    return images.transpose(0, 1, 3, 2)[:, ::-1]
