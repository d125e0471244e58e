"""Where each image of a large set lies: 1.28 million of them in some 100 MB.

An image is a file, or a stretch of bytes in an uncompressed tar. Names are kept as one
run of bytes, numbers as arrays, so that processes share them after a fork.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from generator.errors import UserError

WHOLE_FILE = -1  # an image's archive, where it is a file


@dataclass(frozen=True)
class ImageIndex:
    """n images. A name is what reports say: `n01440764/n01440764_18.JPEG`, say.

    names: bytes of all names, one after the other. ends: int64 (n), where each ends.
    labels: uint16 (n). archives: int32 (n), places in `files`, or WHOLE_FILE: then the
    name is the path, seen from `folder`. offsets, sizes: int64 (n), bytes. times: int64
    (n), when a file was changed, ns; 0 in an archive.
    """

    names: bytes
    ends: np.ndarray
    labels: np.ndarray
    archives: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    times: np.ndarray
    files: tuple[Path, ...]
    folder: Path

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, place: int) -> str:
        """Returns the name of the image at a place."""
        start = self.ends[place - 1] if place else 0
        return os.fsdecode(self.names[start : self.ends[place]])

    def read(self, place: int) -> bytes:
        """Returns the bytes of an image file.

        Raises OSError where the system cannot read it, UserError where it is not as
        long as when it was indexed, or gone: then the source is being changed.
        """
        archive, size = self.archives[place], int(self.sizes[place])
        whole = archive == WHOLE_FILE
        path = self.folder / self.name(place) if whole else self.files[archive]
        try:
            with open(path, "rb", buffering=0) as file:
                content = _pread(file.fileno(), size, int(self.offsets[place]))
                longer = whole and os.fstat(file.fileno()).st_size > size
        except FileNotFoundError:
            content, longer = b"", True
        if longer or len(content) != size:
            raise UserError(
                f"{path} was changed or removed while it was read: run the same "
                "command again when it is at rest"
            )
        return content

    def in_order_of_names(self) -> ImageIndex:
        """Returns the same images, sorted by the bytes of their names."""
        names = [os.fsencode(self.name(place)) for place in range(len(self))]
        order = np.array(sorted(range(len(self)), key=names.__getitem__), np.int64)
        lengths = np.diff(self.ends, prepend=0)[order]
        return replace(
            self,
            names=b"".join(names[place] for place in order),
            ends=np.cumsum(lengths),
            labels=self.labels[order],
            archives=self.archives[order],
            offsets=self.offsets[order],
            sizes=self.sizes[order],
            times=self.times[order],
        )

    def sha256(self) -> str:
        """Returns the digest of names, labels, sizes and times."""
        digest = hashlib.sha256(self.names)
        for values in (self.ends, self.labels, self.sizes, self.times):
            digest.update(np.ascontiguousarray(values))
        return digest.hexdigest()


class IndexBuilder:
    """Collects images one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self._names = bytearray()
        self._columns = {
            name: array(code)
            for name, code in (
                ("ends", "q"),
                ("labels", "H"),
                ("archives", "i"),
                ("offsets", "q"),
                ("sizes", "q"),
                ("times", "q"),
            )
        }

    def __len__(self) -> int:
        return len(self._columns["ends"])

    def add_archive(self, path: Path) -> int:
        """Returns the number by which `add` knows this archive."""
        self._files.append(path)
        return len(self._files) - 1

    def add(
        self,
        name: str,
        label: int,
        size: int,
        archive: int = WHOLE_FILE,
        offset: int = 0,
        time: int = 0,
    ) -> None:
        self._names += os.fsencode(name)
        row = (len(self._names), label, archive, offset, size, time)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)

    def index(self) -> ImageIndex:
        columns = {
            name: np.frombuffer(column, column.typecode)
            if column
            else np.array([], int)
            for name, column in self._columns.items()
        }
        return ImageIndex(
            names=bytes(self._names),
            files=tuple(self._files),
            folder=self._folder,
            **columns,
        )


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    """Bytes from `offset`; fewer than `size` only at the end of the file."""
    content = os.pread(descriptor, size, offset)
    while len(content) < size:  # Linux gives 2 GB at most, and a signal may cut it
        more = os.pread(descriptor, size - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content
