"""Finds every image of a source, and its label: in folders, in tars, in a list.

Classes are numbered as sorted by name; so ILSVRC's are by WNID, as the labels of
Caffe's released models. Images come sorted by name, a list's in its order. Every
function calls `progress(count)` as images are found, and raises UserError where an
archive, a list or the devkit is unfit, or no image is there.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from generator import text_files
from generator.errors import UserError
from swwae.datasets import ilsvrc_devkit, tars
from swwae.datasets.found_images import FoundImages, Progress
from swwae.datasets.image_files import (
    DUPLICATE,
    NOT_AN_IMAGE,
    SUFFIXES,
    SYNSET,
    SYNSET_TAR,
    VALIDATION_IMAGE,
    entries,
    files_in,
    listed_file,
    plain,
    suffix,
    synset_tars,
)
from swwae.datasets.image_index import IndexBuilder

MAX_LABEL = 2**16 - 1
LABEL = re.compile(r"[0-9]{1,9}")
MAX_LINE = 2**13
"""Bytes of a list's line; a path has half of them at most."""

NO_CLASS_TAR = "is no tar of a class"


def in_class_folders(folder: Path, progress: Progress) -> FoundImages:
    """Finds the images of a folder with a folder for each class."""
    collector = _Collector(folder, progress)
    for file in files_in(folder):
        if file.fault:
            collector.skip(file.name, file.fault)
        else:
            collector.add(file.name, file.size, time=file.time)
    return collector.images(folder)


def in_class_tar(path: Path, root: Path, progress: Progress) -> FoundImages:
    """Finds the images of a tar with a folder for each class."""
    collector = _Collector(root, progress)
    collector.add_members(path, tars.members(path))
    return collector.images(path)


def in_folder_of_tars(folder: Path, root: Path, progress: Progress) -> FoundImages:
    """Finds the images of a folder of n########.tar, one a class."""
    collector = _Collector(root, progress)
    for path in synset_tars(folder):
        collector.add_members(path, tars.members(path), f"{path.stem}/")
    for entry in entries(folder):
        if not SYNSET_TAR.fullmatch(entry.name):
            collector.skip(entry.name, NO_CLASS_TAR)
    return collector.images(folder)


def in_tar_of_tars(path: Path, root: Path, progress: Progress) -> FoundImages:
    """Finds the images of a tar of tars, one a class."""
    collector = _Collector(root, progress)
    stems = set()
    for outer in tars.members(path):
        name = plain(outer.name)
        stem, ending = os.path.splitext(os.path.basename(name))
        fault = outer.fault or ("" if ending == ".tar" else NO_CLASS_TAR)
        fault = fault or (DUPLICATE if stem in stems else "")
        if fault:
            collector.skip(name, fault)
            continue
        stems.add(stem)
        inner = tars.members(path, outer.offset, outer.size, name)
        collector.add_members(path, inner, f"{stem}/")
    return collector.images(path)


class _Collector:
    """Images with the classes they are in, as a source is gone through."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._builder = IndexBuilder(folder)
        self._progress = progress
        self._classes: dict[str, int] = {}  # in the order they are met
        self._archives: dict[Path, int] = {}
        self._skipped: list[tuple[str, str]] = []

    def skip(self, name: str, reason: str) -> None:
        self._skipped.append((name, reason))

    def add(self, name: str, size: int, **where: int) -> None:
        """Adds an image in the folder of its class, if its name says it is one."""
        class_name, slash, within = name.partition("/")
        if suffix(name) not in SUFFIXES:
            self.skip(name, NOT_AN_IMAGE)
        elif not slash:
            self.skip(name, "is in no class's folder")
        elif _holds_classes(class_name, within):
            raise UserError(
                f"{name} lies two folders deep, expected class/image: give what is in "
                f"{class_name}, with folders of classes at the top"
            )
        else:
            label = self._classes.setdefault(class_name, len(self._classes))
            if label > MAX_LABEL:
                raise UserError(
                    f"expected at most {MAX_LABEL + 1} classes, found more; is "
                    f"{class_name} one?"
                )
            self._builder.add(name, label, size, **where)
            self._progress(len(self._builder))

    def add_members(
        self, path: Path, members: Iterator[tars.Member], prefix: str = ""
    ) -> None:
        """Adds the images of a tar; `prefix` is put before their names."""
        if path not in self._archives:
            self._archives[path] = self._builder.add_archive(path)
        seen = set()
        for member in members:
            name = prefix + plain(member.name)
            fault = member.fault or (DUPLICATE if name in seen else "")
            seen.add(name)
            if fault:
                self.skip(name, fault)
            else:
                where = {"archive": self._archives[path], "offset": member.offset}
                self.add(name, member.size, **where)

    def images(self, path: Path) -> FoundImages:
        """Returns all images with the places of their classes, sorted, as labels."""
        if not len(self._builder):
            raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        index = self._builder.index().in_order_of_names()
        classes = tuple(sorted(self._classes))
        label_of = np.empty(len(classes), np.uint16)
        for label, name in enumerate(classes):
            label_of[self._classes[name]] = label
        return FoundImages(
            replace(index, labels=label_of[index.labels]),
            classes,
            tuple(sorted(self._skipped)),
        )


def _holds_classes(folder: str, within: str) -> bool:
    """Tells whether a folder is no class but `train`, say, with the classes in it."""
    inner = within.partition("/")[0]
    return bool(SYNSET.fullmatch(inner)) and not SYNSET.fullmatch(folder)


def validation_in_folder(folder: Path, devkit: Path, progress: Progress) -> FoundImages:
    """Finds ILSVRC's validation images in a folder; the devkit has their classes."""
    builder = IndexBuilder(folder)
    candidates = (
        (file.name, file.name, file.fault, file.size, {"time": file.time})
        for file in files_in(folder)
    )
    return _validation(folder, devkit, builder, candidates, progress)


def validation_in_tar(path: Path, devkit: Path, progress: Progress) -> FoundImages:
    """Finds ILSVRC's validation images in a tar; the devkit has their classes."""
    builder = IndexBuilder(path)
    archive = builder.add_archive(path)
    candidates = (
        (
            member.name,
            os.path.basename(member.name),
            member.fault,
            member.size,
            {"archive": archive, "offset": member.offset},
        )
        for member in tars.members(path)
    )
    return _validation(path, devkit, builder, candidates, progress)


def _validation(
    path: Path,
    devkit_path: Path,
    builder: IndexBuilder,
    candidates: Iterable[tuple[str, str, str, int, dict[str, int]]],
    progress: Progress,
) -> FoundImages:
    """Returns the images whose names have a number of the devkit's list.

    candidates: full name, name in the index, fault, size, and where it lies.
    """
    devkit = ilsvrc_devkit.read(devkit_path)
    skipped, seen = [], set()
    for full_name, name, fault, size, where in candidates:
        match = VALIDATION_IMAGE.fullmatch(name)
        if not fault and not match:
            fault = "is not named as ILSVRC's validation images"
        if not fault and name in seen:
            fault = DUPLICATE
        seen.add(name)
        if fault:
            skipped.append((full_name, fault))
            continue
        number = int(match[1])
        if not 1 <= number <= len(devkit.labels):
            raise UserError(
                f"{path} has {name}, {devkit_path} tells the classes of "
                f"{len(devkit.labels)} images: they do not belong together"
            )
        builder.add(name, int(devkit.labels[number - 1]), size, **where)
        progress(len(builder))
    if not len(builder):
        raise UserError(f"{path} holds no validation image")
    index = builder.index().in_order_of_names()
    return FoundImages(index, devkit.classes, tuple(sorted(skipped)))


def in_list(path: Path, root: Path, progress: Progress) -> FoundImages:
    """Finds the images of a Caffe list file: `path label` in each line.

    root: what the paths are relative to.
    """
    builder, skipped, seen = IndexBuilder(root), [], set()
    for written, label in _listed(path):
        file = listed_file(root, written)
        name = file.name
        fault = DUPLICATE if name in seen else file.fault
        seen.add(name)
        if fault:
            skipped.append((name, fault))
            continue
        builder.add(name, label, file.size, time=file.time)
        progress(len(builder))
    if not len(builder):
        raise UserError(
            f"{path} lists no image that is there, seen from {root}: --root names the "
            "folder that its paths are relative to"
        )
    return FoundImages(builder.index(), None, tuple(skipped))


def _listed(path: Path) -> Iterator[tuple[str, int]]:
    """Yields the files and labels of a list; raises UserError at a line that has
    none."""
    try:
        for number, line in enumerate(text_files.lines(path, MAX_LINE), 1):
            text = line.strip()
            if not text:
                continue
            name, _, label = text.rpartition(" ")
            name = name.rstrip()
            is_text = len(line) < MAX_LINE and "\0" not in text
            if not (is_text and name and _is_label(label)):
                raise UserError(
                    f"{path}: line {number} should be a file, a space and a label "
                    f"of 0 to {MAX_LABEL}, found {text[:80]!a}"
                )
            yield name, int(label)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is damaged: it is no whole {error.encoding}"
        ) from error


def _is_label(text: str) -> bool:
    return bool(LABEL.fullmatch(text)) and int(text) <= MAX_LABEL
