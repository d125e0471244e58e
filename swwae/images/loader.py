"""Reads and prepares a database's images in processes of their own.

pycaffe holds Python's lock while a network computes, so that threads would wait for it.
"""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from itertools import islice
from multiprocessing import get_context

import cv2
import lmdb
import numpy as np

from generator.errors import UserError
from swwae.base.processes import cores, end_with_parent
from swwae.images.database import Database

CHUNK = 32
"""Images that a process reads at a time."""

MOST_PROCESSES = 16


def prepared(
    database: Database, keys: Sequence[bytes], processes: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the images with these keys, in their order, as uint8 (C, H, W), and their
    labels.

    processes: one a core where it is None. Raises UserError where an image cannot be
    read. To be closed where it is left before its end (contextlib.closing).
    """
    if processes is None:
        processes = min(cores(), MOST_PROCESSES)
    chunks = (keys[at : at + CHUNK] for at in range(0, len(keys), CHUNK))
    pool = ProcessPoolExecutor(processes, get_context("fork"), initializer=_begin)
    try:
        reading = deque(
            pool.submit(_read, database, chunk)
            for chunk in islice(chunks, 2 * processes)
        )
        while reading:
            done = reading.popleft().result()
            reading.extend(
                pool.submit(_read, database, chunk) for chunk in islice(chunks, 1)
            )
            yield from done
    except BrokenProcessPool:
        database.check()
        raise UserError(
            "a process that reads images was killed; is there memory enough?"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leaves Ctrl-C to the parent, ends with it, and takes OpenCV one thread.

    Whatever threads OpenCV had in the parent are not in its fork: 0 is the number with
    which it neither uses nor waits for them.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGTERM)


def _read(database: Database, keys: Sequence[bytes]) -> list[tuple[np.ndarray, int]]:
    environment = _environment(database)
    frame = database.preprocessing.framed
    images = (database.read(environment, key) for key in keys)
    return [(frame(image), label) for image, label in images]


@cache  # an LMDB can be opened once in a process
def _environment(database: Database) -> lmdb.Environment:
    return database.open()
