"""Finds the members of plain tars, and of tars within them, without unpacking."""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generator.errors import UserError

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}

BLOCK = 512
"""Bytes; a tar is made of them, and ends with blocks of zeros."""


@dataclass(frozen=True)
class Member:
    """offset, size: bytes, within the outermost file. fault: why it is unfit, or ""."""

    name: str
    offset: int
    size: int
    fault: str


def is_tar(path: Path) -> bool:
    """Tells whether a file starts as an uncompressed tar does, with a member's header.

    Raises UserError where it is compressed: its members cannot be read one by one.
    """
    try:
        with path.open("rb") as file:
            start = file.read(BLOCK)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for magic, method in COMPRESSED.items():
        if start.startswith(magic):
            raise UserError(
                f"{path} is compressed ({method}), expected a plain tar, whose images "
                "can be read in any order: decompress it first"
            )
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(
    path: Path, start: int = 0, size: int | None = None, within: str = ""
) -> Iterator[Member]:
    """Yields all members but folders, in the tar's order.

    The tar is the file `path`, or `size` bytes of it from `start` on, which sentences
    call `within`. Raises UserError where it is no tar, damaged or truncated.
    """
    shown = f"{within} in {path}" if within else str(path)
    try:
        with path.open("rb", buffering=0) as file:
            if size is None:
                size = os.fstat(file.fileno()).st_size
            window = _Window(file.fileno(), start, size)
            with tarfile.open(fileobj=window, mode="r:") as archive:
                while (info := archive.next()) is not None:
                    archive.members = []  # tarfile would keep them all
                    fault = _fault(info)
                    there = 0 <= info.size <= size - info.offset_data
                    if not (fault or there):
                        raise tarfile.ReadError(f"{info.name!a} is cut off")
                    if not info.isdir():
                        offset = start + info.offset_data
                        yield Member(info.name, offset, info.size, fault)
                window.seek(archive.offset)
                end = window.read(BLOCK)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        # The last two are tarfile's on numbers that are none, or too large.
        raise UserError(
            f"{shown} is truncated, damaged or no tar ({error}): fetch it again"
        ) from error
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror}") from error
    if end != bytes(BLOCK):
        found = "other bytes" if end else "the file's end"
        raise UserError(
            f"{shown} is truncated or damaged: expected the next member, or the "
            f"archive's end mark, at byte {archive.offset}, found {found}; fetch it "
            "again"
        )


def _fault(info: tarfile.TarInfo) -> str:
    if info.name.startswith("/") or ".." in info.name.split("/"):
        return "its path leaves the archive"
    if info.issym() or info.islnk():
        return "is a link in the archive"
    if not info.isreg() or info.issparse():
        return "is no plain file in the archive"
    return ""


class _Window(io.RawIOBase):
    """Some bytes of a file as a file."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size = descriptor, start, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}
        self._place = base[whence] + offset
        return self._place

    def readinto(self, buffer: memoryview) -> int:
        wanted = max(0, min(len(buffer), self._size - self._place))
        content = os.pread(self._descriptor, wanted, self._start + self._place)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
