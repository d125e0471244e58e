"""What a Datum holds, read from its bytes without its pixels.

Caffe trusts Datums: it reads past the end of one whose pixels are fewer than it says.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

from .picture_headers import read_header

CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOATS, ENCODED = range(1, 8)
"""The fields' numbers in caffe.proto."""

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
"""Protobuf's wire types."""

WINDOW = 48
"""Bytes that are read at a time: the fields on either side of the pixels take fewer."""

LARGEST_HEAD = 32
"""Bytes of a field's number, size and a varint, at most."""

PICTURES = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG",
    b"BM",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"RIFF",  # WebP
    b"\0\0\0\x0cjP",  # JPEG 2000
    b"v/1\x01",  # OpenEXR
    b"#?",  # Radiance
)
"""How the files that OpenCV decodes begin, those that are met."""

Read = Callable[[int, int], bytes]
"""Returns so many bytes (the second number) of a Datum from a place on (the first)."""

BYTES_EACH, FLOATS_EACH, PICTURE = "bytes", "floats", "picture"
"""What holds a Datum's pixels."""


class NoImage(ValueError):
    """Why an entry is none: a clause, whose subject is the entry."""


@dataclass
class Scanned:
    """What a Datum says. data: bytes of its pixels; start: where they are in it.

    bits: of one value. channels, height, width are 0 for a picture whose header is not
    understood.
    """

    channels: int = 0
    height: int = 0
    width: int = 0
    label: int = 0
    encoded: bool = False
    floats: int = 0
    data: int = 0
    start: int = 0
    bits: int = 8

    @property
    def coding(self) -> str:
        if self.encoded:
            return PICTURE
        return BYTES_EACH if self.data else FLOATS_EACH

    @property
    def values(self) -> int:
        return self.channels * self.height * self.width


def scanned(size: int, read: Read) -> Scanned:
    """Returns what a Datum of `size` bytes says; a picture's shape is its header's.

    Raises NoImage where it is none, or has fewer pixels than
    its shape says, or is marked as encoded and no picture.
    """
    try:
        found = _scan(size, read)
    except IndexError:
        raise NoImage("is no Datum") from None
    if found.encoded:
        if not _is_picture(found, read):
            raise NoImage("is marked as encoded, and is no picture")
        header = read_header(found.data, lambda at, n: read(found.start + at, n))
        found.channels, found.height, found.width, found.bits = header or (0, 0, 0, 8)
        return found
    held = found.data or found.floats
    if min(found.channels, found.height, found.width) < 1 or not held:
        raise NoImage("holds no pixels")
    if held < found.values:
        shape = f"{found.channels}x{found.height}x{found.width}"
        raise NoImage(f"has {held:,} values, not {shape}")
    if found.coding == FLOATS_EACH:
        found.bits = 32
    elif held in (2 * found.values, 4 * found.values, 8 * found.values):
        found.bits = 8 * held // found.values
    return found


def _scan(size: int, read: Read) -> Scanned:
    """Raises IndexError for what is no message."""
    found = Scanned()
    at = begin = 0
    window = read(0, WINDOW)
    while at < size:
        if at - begin + LARGEST_HEAD > len(window) and begin + len(window) < size:
            begin, window = at, read(at, WINDOW)
        key, place = _varint(window, at - begin)
        number, kind = key >> 3, key & 7
        value = 0
        if kind in (VARINT, BYTES):
            value, place = _varint(window, place)
        after = begin + place
        if kind == BYTES:
            if number == DATA:
                found.data, found.start = value, after
            elif number == FLOATS:
                found.floats += value // 4
            after += value
        elif kind == FIXED_32:
            if number == FLOATS:
                skipped = _equal_fields(found, at, size, read)
                found.floats += skipped + 1
                after += 5 * skipped
            after += 4
        elif kind == FIXED_64:
            after += 8
        elif kind == VARINT:
            _set(found, number, value)
        if after > size or not number or kind not in (0, 1, 2, 5):
            raise IndexError
        at = after
    return found


def _set(found: Scanned, number: int, value: int) -> None:
    value &= (1 << 32) - 1
    signed = value - (1 << 32) if value >> 31 else value
    if number == CHANNELS:
        found.channels = signed
    elif number == HEIGHT:
        found.height = signed
    elif number == WIDTH:
        found.width = signed
    elif number == LABEL:
        found.label = signed
    elif number == ENCODED:
        found.encoded = bool(value)


def _equal_fields(found: Scanned, at: int, size: int, read: Read) -> int:
    """Returns how many numbers follow the first one, where there are as many as the
    shape says; else 0: they are then read one by one."""
    following = found.values - 1
    last = at + 5 * following
    if found.floats or following < 1 or last + 5 > size:
        return 0
    return following if read(last, 1) == bytes([FLOATS << 3 | FIXED_32]) else 0


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Returns a number, and where the next byte is; raises IndexError."""
    byte = content[place]
    if byte < 0x80:
        return byte, place + 1
    value, shift = byte & 0x7F, 7
    while shift < 70:
        place += 1
        byte = content[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise IndexError


def _is_picture(found: Scanned, read: Read) -> bool:
    if read(found.start, 8).startswith(PICTURES):
        return True
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read(found.start, found.data))):
            return True
    except Exception:  # Pillow's readers raise all kinds of them
        return False
