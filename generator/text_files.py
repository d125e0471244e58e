"""Text files as editors leave them: with a byte order mark, in UTF-16, with comments in
GBK or Latin-1.

Caffe's own programs read UTF-8 without a mark alone; `unfit_for_caffe` says what is to
be done about other files that they are given.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # begins as UTF-16's does
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

HEAD = 4
"""Bytes that tell how a file is encoded."""

CODE = re.compile(
    rb"""(?P<comment>\#[^\n]*)
    | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'? | [^"'\#]+""",
    re.VERBOSE | re.DOTALL,
)
"""Parts of protobuf's text format."""


def encoding(head: bytes) -> tuple[int, str]:
    """Returns the length of a file's byte order mark, and its encoding.

    head: HEAD bytes, or all there are. Text that begins with ASCII characters is known
    as UTF-16 without a mark, too.
    """
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return len(mark), name
    zeros = [byte == 0 for byte in head[:HEAD]]
    if zeros == [False, True] * 2:
        return 0, "utf-16-le"
    if zeros == [True, False] * 2:
        return 0, "utf-16-be"
    return 0, "utf-8"


def decoded(content: bytes) -> str:
    """Returns a file's text, with \\n at the ends of its lines; raises
    UnicodeDecodeError, a ValueError, where it is none."""
    mark, name = encoding(content[:HEAD])
    text = content[mark:].decode(name)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read(path: Path) -> str:
    """Reads a text file; raises OSError, and ValueError as `decoded`."""
    return decoded(path.read_bytes())


def read_prototxt(path: Path) -> str:
    """Reads a file in protobuf's text format, whose comments may be in any encoding;
    raises as `read`."""
    content = path.read_bytes()
    try:
        return decoded(content)
    except UnicodeDecodeError:
        if encoding(content[:HEAD])[1] != "utf-8" or b"\0" in content:
            raise
    return decoded(CODE.sub(_readable, content))


def _readable(match: re.Match[bytes]) -> bytes:
    """Returns a part of a file, a comment's bytes as the characters of Latin-1: it has
    one for each."""
    if match["comment"] is None:
        return match[0]
    return match[0].decode("latin-1").encode("utf-8")


def lines(path: Path, longest: int) -> Iterator[str]:
    """Yields the lines of a list of files, names as the system has them.

    longest: characters at a time; a longer line comes in parts. Raises OSError, and
    ValueError where a file in UTF-16 is damaged.
    """
    with path.open("rb") as raw:
        mark, name = encoding(raw.read(HEAD))
        raw.seek(mark)
        system = name == "utf-8"
        with TextIOWrapper(
            raw,
            sys.getfilesystemencoding() if system else name,
            "surrogateescape" if system else "strict",
            newline="\n",
        ) as file:
            yield from iter(lambda: file.readline(longest), "")


def unfit_for_caffe(path: Path) -> str | None:
    """Returns why Caffe's own programs cannot read a text file, and what to do; None
    where they can. Raises OSError."""
    with path.open("rb") as file:
        mark, name = encoding(file.read(HEAD))
    if name != "utf-8":
        kind = name[:6].upper()
        return f"it is in {kind}, which Caffe does not read; save it as UTF-8"
    if mark:
        return (
            "it begins with a byte order mark, which Caffe takes for a part of the"
            " first word in it; save it as UTF-8 without one"
        )
    return None
