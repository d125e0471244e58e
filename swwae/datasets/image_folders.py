"""Finds image files and their classes: in folders, or in a CSV of files and labels."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.datasets.image_files import SUFFIXES, entries, files_in, suffix
from swwae.datasets.labelled_images import shuffled_order

SPLITS = ("train", "val", "test")
WITHOUT_LABELS = ("unlabelled", "unlabeled")
"""What a folder of images without labels may be called."""

HEADS = ("file", "filename", "path", "image", "name")
"""How a CSV's first line begins where it names the columns."""

LARGEST_LABEL = 2**16 - 1

SUFFIXES_TEXT = ", ".join(SUFFIXES)


@dataclass(frozen=True)
class Files:
    """Image files. paths: of each; labels: int64 (n), -1 for none. beside: how many
    files among them are no images by their names."""

    paths: tuple[Path, ...]
    labels: np.ndarray
    beside: int = 0

    def at(self, places: np.ndarray) -> "Files":
        """Returns those at some places."""
        return Files(tuple(self.paths[i] for i in places), self.labels[places])


@dataclass(frozen=True)
class Found:
    """sets: by name: "train", "val", "test", "unlabelled". classes: their names, by
    label; None where the labels are numbers."""

    sets: Mapping[str, Files]
    classes: list[str] | None


def find(source: Path, test: Path | None, root: Path | None) -> Found:
    """Returns what a source holds, and what another one has for tests.

    source, test: a folder with a folder for each class, or a CSV; source may also be a
    folder of such folders, train, val, test and unlabelled. root: what a CSV's paths
    are relative to (None: its folder). Raises UserError where a class or a file is
    missing.
    """
    if not source.exists():
        raise UserError(f"there is no {source}: give a folder of images, or a CSV")
    if source.is_file():
        rows = {"train": _rows(source, root)}
        if test:
            rows["test"] = _rows(test, root)
        return _of_rows(rows)
    if (source / "train").is_dir():
        if test:
            raise UserError(
                f"{source} has a folder train, and test images beside it: leave --test"
                " out, or give --source that folder"
            )
        return _splits(source)
    sets = {"train": source} | ({"test": test} if test else {})
    return _of_trees(sets)


def with_hold_out(found: Found, fraction: float | None, seed: int) -> Found:
    """Returns the same with a share of each class's training images as "test".

    fraction: None where there are test images; they may be called "val". seed: by which
    they are drawn. Raises UserError where there are both, or neither, or a class is too
    small.
    """
    sets = dict(found.sets)
    if "test" not in sets and "val" in sets and fraction is None:
        sets["test"] = sets.pop("val")
    if fraction is None:
        if "test" not in sets:
            raise UserError(
                "there are no test images: give --test, a folder test beside train, or"
                " --hold-out FRACTION"
            )
        return Found(sets, found.classes)
    if "test" in sets:
        raise UserError("there are test images already: leave --hold-out out")
    train = sets["train"]
    order = shuffled_order(len(train.paths), seed)
    held = []
    for label in np.unique(train.labels):
        of_class = order[train.labels[order] == label]
        count = max(1, round(fraction * len(of_class)))
        if count >= len(of_class):
            name = found.classes[label] if found.classes else label
            raise UserError(
                f"class {name} has {len(of_class)} images, of which --hold-out"
                f" {fraction:g} would leave none to train with"
            )
        held.append(of_class[:count])
    places = np.sort(np.concatenate(held))
    rest = np.setdiff1d(np.arange(len(train.paths)), places)
    sets |= {"train": train.at(rest), "test": train.at(places)}
    return Found(sets, found.classes)


# --- folders


def _splits(source: Path) -> Found:
    trees = {name: source / name for name in SPLITS if (source / name).is_dir()}
    found = _of_trees(trees)
    sets = dict(found.sets)
    for name in WITHOUT_LABELS:
        if (source / name).is_dir():
            paths, beside = _images_in(source / name)
            sets["unlabelled"] = Files(paths, np.full(len(paths), -1), beside)
    return Found(sets, found.classes)


def _of_trees(trees: Mapping[str, Path]) -> Found:
    """Classes are numbered as their folders are sorted."""
    classes = _classes(trees["train"])
    sets = {}
    for name, tree in trees.items():
        there = _classes(tree)
        for one, other, missing in (
            (tree, trees["train"], set(classes) - set(there)),
            (trees["train"], tree, set(there) - set(classes)),
        ):
            if missing:
                raise UserError(
                    f"{one} lacks the class folder {sorted(missing)[0]}, which"
                    f" {other} has: both must have the same classes"
                )
        paths, labels, beside = [], [], 0
        for label, each in enumerate(classes):
            of_class, others = _images_in(tree / each)
            paths += of_class
            labels += [label] * len(of_class)
            beside += others
        sets[name] = Files(tuple(paths), np.array(labels, np.int64), beside)
    return Found(sets, classes)


def _classes(tree: Path) -> list[str]:
    if not tree.is_dir():
        raise UserError(f"{tree} is no folder: expected one with a folder a class")
    names = [
        entry.name
        for entry in entries(tree)
        if entry.is_dir() and not entry.name.startswith(".")
    ]
    if not names:
        raise UserError(f"{tree} holds no folders: expected one for each class")
    return names


def _images_in(folder: Path) -> tuple[tuple[Path, ...], int]:
    """Returns the images, and how many other files there are; raises UserError where
    there is no image."""
    paths, others = [], 0
    for file in files_in(folder):
        if suffix(file.name) not in SUFFIXES:
            others += 1
        elif file.fault:
            raise UserError(f"{folder / file.name} {file.fault}: mend or remove it")
        else:
            paths.append(folder / file.name)
    if not paths:
        raise UserError(f"{folder} holds no image ({SUFFIXES_TEXT})")
    return tuple(paths), others


# --- lists

Row = tuple[Path, str]


def _of_rows(rows: Mapping[str, Sequence[Row]]) -> Found:
    """Labels that all are numbers stay; names are numbered as they are sorted."""
    known = {label for _, label in rows["train"]}
    for name, of_set in rows.items():
        for path, label in of_set:
            if label not in known:
                raise UserError(
                    f"the {name} image {path} is of class {label}, which no training"
                    " image is of"
                )
    names = sorted(label for label in known if not _is_label(label))
    numbers = not names
    if names and all(map(_is_number, known)):
        raise UserError(
            f"labels are names, or whole numbers from 0 on, found {names[0]}"
        )
    if numbers and max(map(int, known)) > LARGEST_LABEL:
        raise UserError(f"labels are numbers up to {LARGEST_LABEL}, found larger ones")
    classes = None if numbers else sorted(known)
    number_of = {
        label: int(label) if numbers else place
        for place, label in enumerate(sorted(known))
    }
    sets = {
        name: Files(
            tuple(path for path, _ in of_set),
            np.array([number_of[label] for _, label in of_set], np.int64),
        )
        for name, of_set in rows.items()
    }
    return Found(sets, classes)


def _is_label(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(path: Path, root: Path | None) -> list[Row]:
    """Returns the files and labels of a CSV; raises UserError where it is none."""
    root = path.absolute().parent if root is None else root
    found: dict[Path, str] = {}
    for number, name, label in _lines(path):
        file = root / name
        where = f"line {number} of {path}"
        if file in found:
            raise UserError(f"{where}: {name} is there twice")
        if suffix(name) not in SUFFIXES:
            raise UserError(f"{where}: {name!a} is no image ({SUFFIXES_TEXT})")
        if not file.is_file():
            raise UserError(
                f"{where}: there is no {file}; --root names the folder that its paths"
                " are relative to"
            )
        found[file] = label
    if not found:
        raise UserError(f"{path} lists no image: expected lines of file,label")
    return list(found.items())


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                fields = [cell.strip() for cell in cells]
                if not any(fields):
                    continue
                if len(fields) != 2 or not all(fields):
                    raise UserError(
                        f"line {reader.line_num} of {path}: expected file,label, found"
                        f" {','.join(cells)[:80]!a}"
                    )
                if reader.line_num == 1 and fields[0].lower() in HEADS:
                    continue
                yield reader.line_num, *fields
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV of file,label ({error})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def identity(files: Files) -> list[tuple[str, int, int, int]]:
    """Returns name, label, bytes and time of change (ns) of each file.

    Raises UserError where one has gone.
    """
    rows = []
    for path, label in zip(files.paths, files.labels, strict=True):
        try:
            status = os.stat(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        rows.append((str(path), int(label), status.st_size, status.st_mtime_ns))
    return rows
