"""The shape of a picture, read from the first bytes of a JPEG or a PNG.

A database has a million of them, and Caffe decodes each as it is: with the channels and
the depth that it has.
"""

from collections.abc import Callable
from struct import Struct

Read = Callable[[int, int], bytes]
"""Returns so many bytes (the second) of a picture from a place on (the first)."""

Header = tuple[int, int, int, int]
"""Channels as OpenCV decodes them, height, width, bits of a value."""

PNG, PNG_HEADER = b"\x89PNG\r\n\x1a\n", Struct(">II BB")
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
"""By colour type: grey, colour, palette, and with transparency."""

MAY_HAVE_CLEAR = (2, 3)
"""Colour types of which a chunk may say that some colours are transparent, which OpenCV
then decodes to a fourth channel."""

PNG_CHUNK, FIRST_CHUNK, AROUND_CHUNK = Struct(">I4s"), 33, 12
"""Length and name; where the one after the shape begins; bytes beside its content."""

SHAPE_AT = 16
"""The byte of a PNG where its width is."""

JPEG, JPEG_SEGMENT, JPEG_FRAME = b"\xff\xd8\xff", Struct(">BBH"), Struct(">B HHB")
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that has the shape."""

WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
SCAN = 0xDA

MOST_SEGMENTS = 1000


def read_header(size: int, read: Read) -> Header | None:
    """Returns what a picture of `size` bytes is; None for other formats, and damage."""
    start = read(0, SHAPE_AT + PNG_HEADER.size)
    if start.startswith(PNG) and len(start) == SHAPE_AT + PNG_HEADER.size:
        width, height, bits, kind = PNG_HEADER.unpack_from(start, SHAPE_AT)
        channels = PNG_CHANNELS.get(kind)
        if kind in MAY_HAVE_CLEAR and _has_clear_colours(size, read):
            channels = 4
        return channels and (channels, height, width, max(bits, 8))
    return _jpeg(size, read) if start.startswith(JPEG) else None


def _has_clear_colours(size: int, read: Read) -> bool:
    at = FIRST_CHUNK
    for _ in range(MOST_SEGMENTS):
        content = read(at, PNG_CHUNK.size) if at < size else b""
        if len(content) < PNG_CHUNK.size:
            return False
        length, name = PNG_CHUNK.unpack(content)
        if name in (b"tRNS", b"IDAT"):
            return name == b"tRNS"
        at += length + AROUND_CHUNK
    return False


def _jpeg(size: int, read: Read) -> Header | None:
    at = len(JPEG) - 1
    for _ in range(MOST_SEGMENTS):
        if at >= size:
            return None
        content = read(at, JPEG_SEGMENT.size + JPEG_FRAME.size)
        if len(content) < JPEG_SEGMENT.size + JPEG_FRAME.size:
            return None
        filler, marker, length = JPEG_SEGMENT.unpack_from(content)
        if filler != 0xFF or marker == SCAN:
            return None
        if marker in FRAMES:
            bits, height, width, components = JPEG_FRAME.unpack_from(
                content, JPEG_SEGMENT.size
            )
            return 1 if components == 1 else 3, height, width, bits
        if marker == 0xFF:
            at += 1
        else:
            at += 2 if marker in WITHOUT_LENGTH else 2 + length
    return None
