"""Tells what a source of images is, and finds every image and its label in it."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.datasets import ilsvrc_devkit, tars
from swwae.datasets.image_index import ImageIndex, IndexBuilder

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


MAX_LABEL = 2**16 - 1


LABEL = re.compile(r"[0-9]{1,9}")


MAX_LINE = 2**13  # bytes of a list; a path has half of them at most


SYNSET = re.compile(r"n\d{8}")


SYNSET_TAR = re.compile(r"n\d{8}\.tar")


VALIDATION_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)


TAR_OF_TARS = "a tar of one tar a class"


FOLDER_OF_TARS = "a folder of one tar a class"


CLASS_TAR = "a tar of class folders"


CLASS_FOLDERS = "class folders"


VALIDATION_TAR = "a tar of ILSVRC's validation images"


VALIDATION_FOLDER = "a folder of ILSVRC's validation images"


LIST = "a list of files and labels"


TARS = (TAR_OF_TARS, FOLDER_OF_TARS, CLASS_TAR, VALIDATION_TAR)


NOT_AN_IMAGE = f"is no image by its name ({', '.join(SUFFIXES)})"


NO_CLASS_TAR = "is no tar of a class"


DUPLICATE = "is a duplicate name"


Report = Callable[[int], None]


@dataclass(frozen=True)
class Found:
    """classes: label by label; None where a list gives bare numbers.

    skipped: names, and why each of them is no image to store.
    """

    index: ImageIndex
    classes: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """kind: one of the above. root: what a list's paths are relative to."""

    path: Path
    kind: str
    root: Path
    devkit: Path | None = None

    def find(self, report: Report) -> Found:
        """Find all images, sorted by name, a list's in its order.

        Classes are numbered as sorted by name; so ILSVRC's are by WNID, as the labels
        of Caffe's released models. `report(count)` is called as images are found.
        Raises UserError where an archive, a list or the devkit is unfit.
        """
        if self.kind == LIST:
            return _find_listed(self.path, self.root, report)
        if self.kind in (VALIDATION_TAR, VALIDATION_FOLDER):
            return _find_validation(self, report)
        return _find_classes(self, report)

    def tars(self) -> list[Path]:
        """The tars, in the order in which an index's `files` has them."""
        return _synset_tars(self.path) if self.kind == FOLDER_OF_TARS else [self.path]

    def tar_stamps(self) -> list[list]:
        """Name, size in bytes and time of change (ns) of each tar, and of the devkit.

        Tars with the same stamps need not be read again.
        """
        stamps = []
        for path in [*self.tars(), *([self.devkit] if self.devkit else [])]:
            status = path.stat()
            stamps.append([path.name, status.st_size, status.st_mtime_ns])
        return stamps


@dataclass(frozen=True)
class _File:
    """size: bytes. time: of its last change, ns. fault: why it is unfit, or ""."""

    name: str
    size: int = 0
    time: int = 0
    fault: str = ""


def recognise(path: Path, root: Path | None, devkit: Path | None) -> Source:
    """What `path` is; raises UserError where it is nothing known, or lacks the devkit.

    root: folder of a list's relative paths (None: the list's own).
    """
    if not os.path.exists(path):
        raise UserError(f"there is no {path}: give a tar, a folder or a list file")
    if not (path.is_dir() or path.is_file()):
        raise UserError(
            f"{path} is neither a file nor a folder: save what it gives as a list file"
        )
    if path.is_dir():
        kind = _kind_of_folder(path)
    elif tars.is_tar(path):
        kind = _kind_of_tar(path)
    elif path.suffix == ".tar":
        raise UserError(f"{path} is no tar, though its name says so: fetch it again")
    else:
        kind = LIST
    needs_devkit = kind in (VALIDATION_TAR, VALIDATION_FOLDER)
    if needs_devkit and devkit is None:
        raise UserError(
            f"{path} is {kind}, whose classes the devkit tells: give --devkit "
            f"{ilsvrc_devkit.ARCHIVE}, or the folder that was unpacked from it"
        )
    return Source(
        path, kind, root or path.absolute().parent, devkit if needs_devkit else None
    )


def save(found: Found, path: Path) -> None:
    """Keep what was found as the file `path` (.npz)."""
    index = found.index
    about = {
        "files": [str(file.absolute()) for file in index.files],
        "folder": str(index.folder.absolute()),
        "classes": found.classes,
        "skipped": found.skipped,
    }
    with path.open("wb") as file:
        np.savez(
            file,
            names=np.frombuffer(index.names, np.uint8),
            ends=index.ends,
            labels=index.labels,
            archives=index.archives,
            offsets=index.offsets,
            sizes=index.sizes,
            times=index.times,
            about=np.array(json.dumps(about)),
        )


def load(path: Path) -> Found:
    """What `save` kept. Raises OSError, ValueError or KeyError where it is damaged."""
    with np.load(path) as columns:
        about = json.loads(str(columns["about"]))
        index = ImageIndex(
            names=columns["names"].tobytes(),
            ends=columns["ends"],
            labels=columns["labels"],
            archives=columns["archives"],
            offsets=columns["offsets"],
            sizes=columns["sizes"],
            times=columns["times"],
            files=tuple(map(Path, about["files"])),
            folder=Path(about["folder"]),
        )
    classes = about["classes"]
    return Found(
        index,
        None if classes is None else tuple(classes),
        tuple(map(tuple, about["skipped"])),
    )


def _kind_of_folder(folder: Path) -> str:
    has_tars, has_folders, has_validation = bool(_synset_tars(folder)), False, False
    for entry in _entries(folder):
        if entry.is_dir():
            has_folders = has_folders or not entry.name.startswith(".")
        elif VALIDATION_IMAGE.fullmatch(entry.name):
            has_validation = True
    if has_tars and has_folders:
        raise UserError(
            f"{folder} holds both tars and folders of classes: give a folder with one "
            "of them"
        )
    if has_tars:
        return FOLDER_OF_TARS
    if has_validation:
        return VALIDATION_FOLDER
    if has_folders:
        return CLASS_FOLDERS
    raise UserError(
        f"{folder} holds no images of known classes: expected a folder for each class, "
        "n########.tar, or ILSVRC2012_val_########.JPEG"
    )


def _kind_of_tar(path: Path) -> str:
    for member in tars.members(path):
        name = _plain(member.name)
        if name.endswith(".tar"):
            return TAR_OF_TARS
        if VALIDATION_IMAGE.fullmatch(os.path.basename(name)):
            return VALIDATION_TAR
        if "/" in name and _suffix(name) in SUFFIXES:
            return CLASS_TAR
    raise UserError(
        f"{path} holds no images of known classes: expected tars of classes, "
        "class/image.jpg, or ILSVRC2012_val_########.JPEG"
    )


def _find_classes(source: Source, report: Report) -> Found:
    """Images whose class is the folder, or the tar, that they are in."""
    folder = source.path if source.kind == CLASS_FOLDERS else source.root
    collected = _Collected(IndexBuilder(folder), report)
    if source.kind == CLASS_FOLDERS:
        for file in _files_in(source.path, ""):
            if file.fault:
                collected.skip(file.name, file.fault)
            else:
                collected.add(file.name, file.size, time=file.time)
    elif source.kind == FOLDER_OF_TARS:
        for path in source.tars():
            collected.add_members(path, tars.members(path), f"{path.stem}/")
        for entry in _entries(source.path):
            if not SYNSET_TAR.fullmatch(entry.name):
                collected.skip(entry.name, NO_CLASS_TAR)
    elif source.kind == TAR_OF_TARS:
        stems = set()
        for outer in tars.members(source.path):
            name = _plain(outer.name)
            stem, suffix = os.path.splitext(os.path.basename(name))
            fault = outer.fault or ("" if suffix == ".tar" else NO_CLASS_TAR)
            fault = fault or (DUPLICATE if stem in stems else "")
            if fault:
                collected.skip(name, fault)
                continue
            stems.add(stem)
            inner = tars.members(source.path, outer.offset, outer.size, name)
            collected.add_members(source.path, inner, f"{stem}/")
    else:
        collected.add_members(source.path, tars.members(source.path), "")
    return collected.found(source.path)


class _Collected:
    """Images with the classes they are in, as a source is gone through."""

    def __init__(self, builder: IndexBuilder, report: Report) -> None:
        self._builder = builder
        self._report = report
        self._classes: dict[str, int] = {}  # in the order they are met
        self._archives: dict[Path, int] = {}
        self._skipped: list[tuple[str, str]] = []

    def skip(self, name: str, reason: str) -> None:
        self._skipped.append((name, reason))

    def add(self, name: str, size: int, **where: int) -> None:
        """An image, if its name says that it is one, in the folder of its class."""
        class_name, slash, within = name.partition("/")
        if _suffix(name) not in SUFFIXES:
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
            self._report(len(self._builder))

    def add_members(
        self, path: Path, members: Iterator[tars.Member], prefix: str
    ) -> None:
        """The images of a tar; `prefix` is put before their names."""
        if path not in self._archives:
            self._archives[path] = self._builder.add_archive(path)
        seen = set()
        for member in members:
            name = prefix + _plain(member.name)
            fault = member.fault or (DUPLICATE if name in seen else "")
            seen.add(name)
            if fault:
                self.skip(name, fault)
            else:
                where = {"archive": self._archives[path], "offset": member.offset}
                self.add(name, member.size, **where)

    def found(self, path: Path) -> Found:
        """All images with the places of their classes, sorted, as labels."""
        if not len(self._builder):
            raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        index = self._builder.index().in_order_of_names()
        classes = tuple(sorted(self._classes))
        label_of = np.empty(len(classes), np.uint16)
        for label, name in enumerate(classes):
            label_of[self._classes[name]] = label
        return Found(
            replace(index, labels=label_of[index.labels]),
            classes,
            tuple(sorted(self._skipped)),
        )


def _find_validation(source: Source, report: Report) -> Found:
    """ILSVRC's validation images, whose number in the devkit's list is their name's."""
    devkit = ilsvrc_devkit.read(source.devkit)
    builder, skipped, seen = IndexBuilder(source.path), [], set()
    if source.kind == VALIDATION_TAR:
        archive = builder.add_archive(source.path)
        candidates = tars.members(source.path)
    else:
        candidates = _files_in(source.path, "")
    for candidate in candidates:
        if source.kind == VALIDATION_TAR:
            name = os.path.basename(candidate.name)
            where = {"archive": archive, "offset": candidate.offset}
        else:
            name, where = candidate.name, {"time": candidate.time}
        fault = candidate.fault
        match = VALIDATION_IMAGE.fullmatch(name)
        if not fault and not match:
            fault = "is not named as ILSVRC's validation images"
        if not fault and name in seen:
            fault = DUPLICATE
        seen.add(name)
        if fault:
            skipped.append((candidate.name, fault))
            continue
        number = int(match[1])
        if not 1 <= number <= len(devkit.labels):
            raise UserError(
                f"{source.path} has {name}, {source.devkit} tells the classes of "
                f"{len(devkit.labels)} images: they do not belong together"
            )
        label = int(devkit.labels[number - 1])
        builder.add(name, label, candidate.size, **where)
        report(len(builder))
    if not len(builder):
        raise UserError(f"{source.path} holds no validation image")
    index = builder.index().in_order_of_names()
    return Found(index, devkit.classes, tuple(sorted(skipped)))


def _find_listed(path: Path, root: Path, report: Report) -> Found:
    """The images of a Caffe list file: `path label` in each line."""
    builder, skipped, seen = IndexBuilder(root), [], set()
    try:
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(MAX_LINE), b"")
            for number, line in enumerate(lines, 1):
                text = os.fsdecode(line).strip()
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
                listed = _listed_file(root, name)
                fault = DUPLICATE if name in seen else listed.fault
                seen.add(name)
                if fault:
                    skipped.append((name, fault))
                    continue
                builder.add(name, int(label), listed.size, time=listed.time)
                report(len(builder))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not len(builder):
        raise UserError(
            f"{path} lists no image that is there, seen from {root}: --root names the "
            "folder that its paths are relative to"
        )
    return Found(builder.index(), None, tuple(skipped))


def _is_label(text: str) -> bool:
    return bool(LABEL.fullmatch(text)) and int(text) <= MAX_LABEL


def _listed_file(root: Path, name: str) -> _File:
    if _suffix(name) not in SUFFIXES:
        return _File(name, fault=NOT_AN_IMAGE)
    try:
        status = (root / name).stat()
    except OSError as error:
        return _File(name, fault=f"cannot be read: {error.strerror}")
    fault = "" if stat.S_ISREG(status.st_mode) else "is no file"
    return _File(name, status.st_size, status.st_mtime_ns, fault)


def _files_in(folder: Path, prefix: str) -> Iterator[_File]:
    """Every file, in order, named as seen from the outermost folder.

    Hidden folders are passed over; links to folders are followed at the top only.
    """
    for entry in _entries(folder):
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=not prefix):
            if not entry.name.startswith("."):
                yield from _files_in(Path(entry.path), f"{name}/")
            continue
        try:
            status = entry.stat()
        except OSError as error:
            yield _File(name, fault=f"cannot be read: {error.strerror}")
            continue
        fault = "" if entry.is_file() else "is no file"
        yield _File(name, status.st_size, status.st_mtime_ns, fault)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def _synset_tars(folder: Path) -> list[Path]:
    return [
        Path(entry.path)
        for entry in _entries(folder)
        if SYNSET_TAR.fullmatch(entry.name)
    ]


def _holds_classes(folder: str, within: str) -> bool:
    """Whether a folder is no class but `train`, say, with the classes in it."""
    inner = within.partition("/")[0]
    return bool(SYNSET.fullmatch(inner)) and not SYNSET.fullmatch(folder)


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
