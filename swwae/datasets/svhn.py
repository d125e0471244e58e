"""SVHN's cropped digits (format 2) as train, test and, with `extra`, more."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import source_files
from swwae.datasets.labelled_images import LabelledImages
from swwae.datasets.source_files import Content

HOME = ROOT / "data" / "svhn"
SIDE = 32
CLASSES = [str(digit) for digit in range(10)]

FILES = {
    "train": "train_32x32.mat",
    "test": "test_32x32.mat",
    "extra": "extra_32x32.mat",
}
IMAGES = {"train": 73_257, "test": 26_032, "extra": 531_131}

ARCHIVE = "the folder of train_32x32.mat and test_32x32.mat (format 2)"
NETWORK = "vgg8_32"

JOINED, UNLABELLED = "train", "unlabelled"
EXTRA = (JOINED, UNLABELLED)
"""What the extra images can be for: more training images, or images without labels."""


def read(
    source: Path, scratch: Path, *, extra: str | None = None, subset: bool = False
) -> Mapping[str, LabelledImages]:
    """Reads the sets "train" and "test", and "unlabelled" where `extra` says so.

    source: a folder of the .mat files. scratch: a folder for the content, where it is a
    tar. extra: one of EXTRA; "unlabelled": all training images and the extra ones, with
    the label -1. subset: files may hold fewer images than the set's. Raises UserError
    where a file is missing, damaged, or not the set's.
    """
    wanted = [name for name in FILES if name != "extra" or extra]
    found = source_files.read_files(
        source, [FILES[name] for name in wanted], ARCHIVE, scratch
    )
    source_files.require(found, [FILES[name] for name in wanted], source)
    sets = {name: _digits(found[FILES[name]], name, subset) for name in wanted}
    if extra is None:
        return sets
    train, more = sets["train"], sets.pop("extra")
    joined = LabelledImages(
        np.concatenate([train.images, more.images]),
        np.concatenate([train.labels, more.labels]),
        (*train.sources, *more.sources),
    )
    if extra == JOINED:
        return {"train": joined, "test": sets["test"]}
    without = np.full(len(joined), -1)
    return {
        **sets,
        "unlabelled": LabelledImages(joined.images, without, joined.sources),
    }


def _digits(content: Content, name: str, subset: bool) -> LabelledImages:
    """Returns a file's images: X is height × width × RGB × count, y has 10 for 0."""
    from scipy.io import loadmat  # here, because it is slow to import

    try:
        values = loadmat(
            io.BytesIO(content.values), variable_names=["X", "y"], squeeze_me=False
        )
    except Exception as error:  # scipy promises no kind of exception
        raise UserError(
            f"{content.path} is no whole MATLAB file of SVHN's format 2 ({error}):"
            " fetch it again"
        ) from error
    pixels, labels = values.get("X"), values.get("y")
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 4
        or pixels.shape[:3] != (SIDE, SIDE, 3)
    ):
        raise UserError(
            f"{content.path}: expected X, bytes of {SIDE} × {SIDE} × 3 × images, as"
            " SVHN's format 2 has them; it is another file, fetch it again"
        )
    images = pixels.transpose(3, 2, 0, 1)[:, ::-1]
    if (
        not isinstance(labels, np.ndarray)
        or labels.dtype.kind not in "uif"
        or labels.size != len(images)
    ):
        raise UserError(
            f"{content.path}: expected y, {len(images):,} labels from 1 to 10; it is"
            " damaged or another file, fetch it again"
        )
    labels = labels.ravel()
    source_files.check_count(content, len(images), IMAGES[name], subset)
    source_files.check_labels(content.path, labels, 1, 10)
    return LabelledImages(images, labels.astype(np.int64) % 10, (content.source,))
