"""The checksum at the end of a snapshot's files: CRC-32 of all that comes before it.

It is a field of protobuf that no message declares (fork: util/snapshot_writer.hpp), so
that whoever reads the file otherwise passes over it.
"""

import os
import zlib
from pathlib import Path

TAG = b"\xcd\x3e"
"""Number and type of the field, 1001 and fixed32."""

LENGTH = len(TAG) + 4

CHUNK = 1 << 20


def check(path: Path) -> bool | None:
    """Returns whether a file has the checksum at its end that its content has; None
    where there is none at its end."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - LENGTH
        found = 0
        while left > 0 and (chunk := file.read(min(left, CHUNK))):
            found = zlib.crc32(chunk, found)
            left -= len(chunk)
        end = file.read()
    if left or len(end) != LENGTH or not end.startswith(TAG):
        return None
    return int.from_bytes(end[len(TAG) :], "little") == found


def added(content: bytes) -> bytes:
    """Returns a content with its checksum behind it."""
    return content + TAG + zlib.crc32(content).to_bytes(4, "little")


def removed(content: bytes) -> bytes:
    """Returns what stands before the checksum; all where there is none."""
    return content[:-LENGTH] if content[-LENGTH:].startswith(TAG) else content
