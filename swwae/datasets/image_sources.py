"""Tells what a source of images is: an archive of ILSVRC, folders, or a list."""

import os
from dataclasses import dataclass
from pathlib import Path

from generator.errors import UserError
from swwae.datasets import ilsvrc_devkit, image_search, tars
from swwae.datasets.found_images import FoundImages, Progress
from swwae.datasets.image_files import (
    SUFFIXES,
    VALIDATION_IMAGE,
    entries,
    plain,
    suffix,
    synset_tars,
)

# The kinds of sources.
TAR_OF_TARS = "a tar of one tar a class"
FOLDER_OF_TARS = "a folder of one tar a class"
CLASS_TAR = "a tar of class folders"
CLASS_FOLDERS = "class folders"
VALIDATION_TAR = "a tar of ILSVRC's validation images"
VALIDATION_FOLDER = "a folder of ILSVRC's validation images"
LIST = "a list of files and labels"

TARS = (TAR_OF_TARS, FOLDER_OF_TARS, CLASS_TAR, VALIDATION_TAR)
"""The kinds whose images are in tars."""


@dataclass(frozen=True)
class Source:
    """kind: one of the above. root: what a list's paths are relative to."""

    path: Path
    kind: str
    root: Path
    devkit: Path | None = None

    def find(self, progress: Progress) -> FoundImages:
        """Finds all images and their labels, as `image_search` says."""
        if self.kind == LIST:
            return image_search.in_list(self.path, self.root, progress)
        if self.kind == CLASS_FOLDERS:
            return image_search.in_class_folders(self.path, progress)
        if self.kind in (VALIDATION_FOLDER, VALIDATION_TAR):
            search = {
                VALIDATION_FOLDER: image_search.validation_in_folder,
                VALIDATION_TAR: image_search.validation_in_tar,
            }[self.kind]
            return search(self.path, self.devkit, progress)
        search = {
            CLASS_TAR: image_search.in_class_tar,
            FOLDER_OF_TARS: image_search.in_folder_of_tars,
            TAR_OF_TARS: image_search.in_tar_of_tars,
        }[self.kind]
        return search(self.path, self.root, progress)

    def tars(self) -> list[Path]:
        """Returns the tars, in the order in which an index's `files` has them."""
        return synset_tars(self.path) if self.kind == FOLDER_OF_TARS else [self.path]

    def tar_stamps(self) -> list[list]:
        """Returns name, bytes and time of change (ns) of each tar and of the devkit.

        Tars with the same stamps need not be read again.
        """
        stamps = []
        for path in [*self.tars(), *([self.devkit] if self.devkit else [])]:
            status = path.stat()
            stamps.append([path.name, status.st_size, status.st_mtime_ns])
        return stamps


def recognise(path: Path, root: Path | None, devkit: Path | None) -> Source:
    """Returns what `path` is, told by its content.

    root: folder of a list's relative paths (None: the list's own). Raises UserError
    where it is nothing known, or lacks the devkit.
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


def _kind_of_folder(folder: Path) -> str:
    has_tars, has_folders, has_validation = bool(synset_tars(folder)), False, False
    for entry in entries(folder):
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
        name = plain(member.name)
        if name.endswith(".tar"):
            return TAR_OF_TARS
        if VALIDATION_IMAGE.fullmatch(os.path.basename(name)):
            return VALIDATION_TAR
        if "/" in name and suffix(name) in SUFFIXES:
            return CLASS_TAR
    raise UserError(
        f"{path} holds no images of known classes: expected tars of classes, "
        "class/image.jpg, or ILSVRC2012_val_########.JPEG"
    )
