"""The pages of an LMDB's file, read as a file.

LMDB maps the file into memory and trusts it: where pages are missing or damaged, it
ends the whole process (SIGBUS, SIGSEGV, SIGABRT). Here the same is a sentence.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from .errors import UserError

FILE = "data.mdb"

MAGIC, VERSION = 0xBEEFC0DE, 1

# lmdb.h and mdb.c of LMDB 0.9, on 64 bits: a page's header, a database's record (its
# size, depth and root), and the two pages that have one of each.
HEADER = Struct("<QHHHH")  # number, padding, flags, lower, upper
META = Struct("<IIQQ IHHQQQQQ IHHQQQQQ QQ")
NODE = Struct("<HHHH")  # of the value's size or the child: low, high; flags; key's size
NUMBER = Struct("<Q")
BRANCH, LEAF, OVERFLOW, META_PAGE = 1, 2, 4, 8
PAGE_KINDS = 15
ELSEWHERE = 1
"""A node's flag: its value has pages of its own."""

NOTHING = (1 << 64) - 1
"""The root of a database without entries."""


class Damaged(UserError):
    """What is wrong with a database: a clause, whose subject is the database."""


class Value(NamedTuple):
    """An entry's value. page: that it begins on, None where `content` is all of it."""

    size: int
    page: int | None
    content: bytes


class LmdbFile:
    """An LMDB's newest state, to be read in a `with`.

    Raises Damaged where the file is missing, no LMDB, or lacks its end.
    """

    def __init__(self, folder: Path) -> None:
        """folder: that data.mdb is in."""
        try:
            self._file = os.open(folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Damaged(f"cannot be read ({error.strerror})") from None
        try:
            self._read_meta()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "LmdbFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def _read_meta(self) -> None:
        first = self._meta(0)
        self.page_size = first[4]
        if self.page_size not in (1 << power for power in range(9, 17)):
            raise Damaged(f"is damaged: its pages have {self.page_size} bytes")
        newest = max(first, self._meta(self.page_size), key=lambda meta: meta[-1])
        self._depth, *pages, self.entries, self._root = newest[14:20]
        self._tree_pages = sum(pages[:2])
        self._last = newest[-2]
        wanted, found = (self._last + 1) * self.page_size, os.fstat(self._file).st_size
        if found < wanted:
            raise Damaged(f"lacks its end: expected {wanted:,} bytes, found {found:,}")

    def _meta(self, start: int) -> tuple[int, ...]:
        """Returns what META says, of the page at `start` bytes."""
        content = self._bytes(start, HEADER.size + META.size)
        if len(content) < HEADER.size + META.size:
            size = os.fstat(self._file).st_size
            raise Damaged(f"is no LMDB: its {FILE} has {size:,} bytes")
        meta = META.unpack_from(content, HEADER.size)
        if not HEADER.unpack_from(content)[2] & META_PAGE or meta[0] != MAGIC:
            raise Damaged(f"is no LMDB: its {FILE} does not begin as one")
        if meta[1] != VERSION:
            raise Damaged(f"is of version {meta[1]} of LMDB's files, not {VERSION}")
        return meta

    def items(self) -> Iterator[tuple[bytes, Value]]:
        """Yields every key and where its value is, in the keys' order.

        Of values that have pages of their own nothing is read. Raises Damaged for the
        first page that is not as LMDB writes it.
        """
        count = visited = 0
        waiting = [] if self._root == NOTHING else [(self._root, self._depth)]
        while waiting:
            number, depth = waiting.pop()
            visited += 1
            if visited > self._tree_pages:
                raise Damaged("is damaged: its pages refer to each other in a circle")
            if depth > 1:
                waiting += [(child, depth - 1) for child in self._children(number)]
                continue
            for item in self._leaf(number):
                count += 1
                yield item
        if count != self.entries:
            raise Damaged(
                f"is damaged: expected {self.entries:,} entries, found {count:,}"
            )

    def read(self, value: Value, start: int, size: int) -> bytes:
        """Returns up to `size` bytes of a value, from `start` on.

        Raises Damaged where the page at its beginning is another one.
        """
        if value.page is None:
            return value.content[start : start + size]
        place = value.page * self.page_size
        size = max(0, min(size, value.size - start))
        if start:
            return self._bytes(place + HEADER.size + start, size)
        content = self._bytes(place, HEADER.size + size)
        number, _, flags, low, high = HEADER.unpack_from(content)
        pages = -(-(HEADER.size + value.size) // self.page_size)
        kind = flags & PAGE_KINDS
        if (number, kind) != (value.page, OVERFLOW) or (low | high << 16) < pages:
            raise Damaged(f"is damaged: page {value.page:,} is no image's")
        return content[HEADER.size :]

    def _children(self, number: int) -> list[int]:
        """Returns the pages below a branch, the last one first."""
        page, nodes = self._page(number, BRANCH)
        children = []
        for place in reversed(nodes):
            low, high, top, _ = NODE.unpack_from(page, place)
            children.append(low | high << 16 | top << 32)
        return children

    def _leaf(self, number: int) -> Iterator[tuple[bytes, Value]]:
        page, nodes = self._page(number, LEAF)
        for place in nodes:
            low, high, flags, key_size = NODE.unpack_from(page, place)
            size = low | high << 16
            start = place + NODE.size + key_size
            key = page[place + NODE.size : start]
            end = start + (NUMBER.size if flags & ELSEWHERE else size)
            if flags & ~ELSEWHERE or end > len(page):
                raise self._odd(number)
            if not flags & ELSEWHERE:
                yield key, Value(size, None, page[start:end])
                continue
            first = NUMBER.unpack_from(page, start)[0]
            pages = -(-(HEADER.size + size) // self.page_size)
            if not 2 <= first <= self._last + 1 - pages:
                raise self._odd(number)
            yield key, Value(size, first, b"")

    def _page(self, number: int, kind: int) -> tuple[bytes, list[int]]:
        """Returns a page of the tree, and where its nodes begin."""
        if not 2 <= number <= self._last:
            raise Damaged(f"is damaged: there is no page {number:,}")
        page = self._bytes(number * self.page_size, self.page_size)
        if len(page) < self.page_size:
            raise Damaged("lacks its end")
        found, _, flags, lower, upper = HEADER.unpack_from(page)
        fits = HEADER.size < lower <= upper < len(page)
        if found != number or flags & PAGE_KINDS != kind or not fits:
            raise self._odd(number)
        nodes = [
            low | high << 8
            for low, high in zip(
                page[HEADER.size : lower : 2], page[HEADER.size + 1 : lower : 2]
            )
        ]
        if min(nodes) < upper or max(nodes) > len(page) - NODE.size:
            raise self._odd(number)
        return page, nodes

    def _bytes(self, start: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, start)
        except OSError as error:
            raise Damaged(
                f"cannot be read at byte {start:,} ({error.strerror})"
            ) from None

    def _odd(self, number: int) -> Damaged:
        return Damaged(f"is damaged: page {number:,} is not as LMDB writes it")


def check_pages(folder: Path) -> None:
    """Raises Damaged where LMDB would end the process, reading what is in a folder.

    The pages that lead to the values are read, and none of the values' own.
    """
    with LmdbFile(folder) as database:
        for _ in database.items():
            pass
