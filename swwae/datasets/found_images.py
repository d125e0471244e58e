"""The images that were found in a source, kept so that a rerun need not search."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swwae.datasets.image_index import ImageIndex

Progress = Callable[[int], None]
"""Is called with the number of images found so far."""


@dataclass(frozen=True)
class FoundImages:
    """classes: label by label; None where a list gives bare numbers.

    skipped: names, and why each of them is no image to store.
    """

    index: ImageIndex
    classes: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> int:
        """How many labels there are, from 0 to the largest."""
        return int(self.index.labels.max()) + 1

    def read_from(self, archives: list[Path]) -> "FoundImages":
        """Returns the same images, of tars that are elsewhere now, in their order."""
        return replace(self, index=replace(self.index, files=tuple(archives)))


def save(found: FoundImages, path: Path) -> None:
    """Keeps what was found as the file `path` (.npz), whole or not at all."""
    index = found.index
    about = {
        "files": [str(file.absolute()) for file in index.files],
        "folder": str(index.folder.absolute()),
        "classes": found.classes,
        "skipped": found.skipped,
    }
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
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
    temporary.replace(path)


def load(path: Path) -> FoundImages:
    """Returns what `save` kept.

    Raises OSError, ValueError or KeyError where it is damaged.
    """
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
    return FoundImages(
        index,
        None if classes is None else tuple(classes),
        tuple(map(tuple, about["skipped"])),
    )
