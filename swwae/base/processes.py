"""Processes beside this one: for what may end a process, and that end with it."""

import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends (linux/prctl.h)."""


class EndedEarly(Exception):
    """A process ended without a result.

    code: its exit code, negative for a signal. lines: what it wrote on stderr.
    """

    def __init__(self, code: int | None, lines: list[str]) -> None:
        super().__init__(code, lines)
        self.code = code
        self.lines = lines


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """From now on this process gets a signal when its parent ends, however it ends.

    For a child's first steps: a parent that is killed leaves none behind.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def isolated(function: Callable[..., Result], *arguments: object) -> Result:
    """What `function(*arguments)` returns, computed in a process of its own.

    Caffe ends the whole process where it refuses something; and memory that a process
    took is back when it ends. Raises EndedEarly where there is no result, and whatever
    `function` raises.

    The process is forked, which saves the second that pycaffe takes to be imported,
    unless this one holds a GPU: CUDA does not survive a fork.
    """
    context = get_context("spawn" if holds_gpu() else "fork")
    receiver, sender = context.Pipe(duplex=False)
    with NamedTemporaryFile("r", encoding="utf-8", errors="replace") as said:
        child = context.Process(
            target=_answer, args=(sender, said.name, function, arguments)
        )
        child.start()
        sender.close()
        try:
            result, error = receiver.recv()
        except EOFError:
            child.join()
            raise EndedEarly(child.exitcode, said.read().splitlines()) from None
        finally:
            child.join()
            receiver.close()
    if error is not None:
        raise error
    return result


def holds_gpu() -> bool:
    """Whether this process has begun to use an NVIDIA GPU."""
    return any(target.startswith("/dev/nvidia") for target in _open_files())


def _open_files() -> Iterable[str]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:  # closed meanwhile
            continue


def _answer(
    sender: Connection,
    stderr: str,
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    """Sends what a function returns, or raises; what is written on stderr, by Caffe's
    own code too, goes to a file."""
    with open(stderr, "w") as file:
        os.dup2(file.fileno(), 2)
    try:
        answer = function(*arguments), None
    except Exception as error:
        answer = None, error
    sender.send(answer)
