"""Runs a function on all cores, with its results in order and bounded memory."""

import ctypes
import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from generator.errors import UserError
from swwae.base.processes import end_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")

WAITING = 3
"""Tasks under way for each process, so that none has to wait."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""

KEPT_BYTES = 32 << 20
"""Of freed memory, that a process keeps: else each image is zeroed pages again."""


def ordered_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    jobs: int,
    start: Callable[..., None],
    arguments: tuple,
) -> Iterator[Result]:
    """Yields `function(task)` of each task, in their order, by `jobs` processes.

    Each process calls `start(*arguments)` first; it shares the parent's memory, so
    these may be large. What `function` raises is raised here. Raises UserError where
    the system ends a process or starts none. To be closed where it is left before its
    end.
    """
    gc.collect()
    gc.freeze()  # or the children's collectors would copy every page they look at
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_begin,
        initargs=(os.getpid(), start, arguments),
    )
    others = set(multiprocessing.active_children())
    under_way = deque()
    try:
        for task in tasks:
            try:
                under_way.append(pool.submit(function, task))
            except OSError as error:
                for process in {*multiprocessing.active_children()} - others:
                    process.kill()  # it would wait for the others, and we for it
                raise UserError(
                    f"the system starts no more processes ({error.strerror}): run the "
                    "same command again, with fewer --jobs"
                ) from error
            if len(under_way) >= WAITING * jobs:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process at work was ended by the system, for want of memory perhaps: "
            "run the same command again, with fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()


def _begin(parent: int, start: Callable[..., None], arguments: tuple) -> None:
    """Ctrl-C is the parent's to handle; where the parent is killed, we end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    system = ctypes.CDLL(None)
    if hasattr(system, "mallopt"):
        system.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        system.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    if os.getppid() != parent:
        os._exit(1)
    start(*arguments)
