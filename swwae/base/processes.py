"""Processes beside this one: for what may end a process, and that end with it."""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends (linux/prctl.h)."""

SPAWNED = (
    "import pickle, sys;"
    " sys.path[:] = pickle.load(sys.stdin.buffer);"
    " from swwae.base import processes;"
    " processes._answer_spawned(int(sys.argv[1]))"
)
"""The program of a spawned process; its stdin tells the rest."""


class EndedEarly(Exception):
    """A process ended without a result.

    code: its exit code, negative for a signal. lines: what it wrote on stderr.
    """

    def __init__(self, code: int | None, lines: list[str]) -> None:
        super().__init__(code, lines)
        self.code = code
        self.lines = lines


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def end_with_parent(number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Lets this process get a signal when its parent ends, however it ends.

    For a child's first steps: a parent that is killed leaves none behind. parent: its
    number, where it may have ended before this is called.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def isolated(function: Callable[..., Result], *arguments: object) -> Result:
    """Returns what `function(*arguments)` does, computed in a process of its own.

    Caffe ends the whole process where it refuses something; and memory that a process
    took is back when it ends. Raises EndedEarly where there is no result, and whatever
    `function` raises.

    The process is forked, which saves the second that pycaffe takes to be imported,
    unless this one holds a GPU: CUDA does not survive a fork. It is spawned then, which
    finds a function of a module by its name and pickles the arguments. (GNU's OpenMP
    does not survive a fork either, once it has threads: libcaffe sees to that itself,
    and a forked child computes with one thread.)
    """
    receiver, sender = Pipe(duplex=False)
    with (
        receiver,
        NamedTemporaryFile("r", encoding="utf-8", errors="replace") as stderr,
    ):
        with sender:
            start = _spawn if holds_gpu() else _fork
            wait = start(sender, stderr.name, function, arguments)
        try:
            result, error = receiver.recv()
        except EOFError:
            raise EndedEarly(wait(), stderr.read().splitlines()) from None
        finally:
            wait()
    if error is not None:
        raise error
    return result


def holds_gpu() -> bool:
    """Returns whether this process has begun to use an NVIDIA GPU."""
    return any(target.startswith("/dev/nvidia") for target in _open_files())


def _open_files() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:  # closed meanwhile
            continue


Wait = Callable[[], int | None]
"""Waits until a process has ended, and returns its exit code, as `EndedEarly.code`."""


def _fork(
    sender: Connection,
    stderr: str,
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> Wait:
    child = get_context("fork").Process(
        target=_answer_forked, args=(sender, stderr, function, arguments)
    )
    child.start()

    def wait() -> int | None:
        child.join()
        return child.exitcode

    return wait


def _answer_forked(
    sender: Connection,
    stderr: str,
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    """What is written on stderr, by Caffe's own code too, goes to a file."""
    with open(stderr, "w") as file:
        os.dup2(file.fileno(), 2)
    # Python's stderr may be another one, such as a notebook's.
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    _answer(sender, function, arguments)


def _spawn(
    sender: Connection,
    stderr: str,
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> Wait:
    """Not by multiprocessing, whose children run the main program's file once more: a
    script that calls us need not guard against that."""
    task = pickle.dumps((function, arguments))
    with open(stderr, "w") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", SPAWNED, str(sender.fileno())],
            stdin=subprocess.PIPE,
            stderr=file,
            pass_fds=[sender.fileno()],
        )
    try:
        with child.stdin:
            child.stdin.write(pickle.dumps(sys.path) + task)
    except BrokenPipeError:  # it has ended: its exit code and stderr say why
        pass
    return child.wait


def _answer_spawned(descriptor: int) -> None:
    function, arguments = pickle.load(sys.stdin.buffer)
    with Connection(descriptor, readable=False) as sender:
        _answer(sender, function, arguments)


def _answer(
    sender: Connection, function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    """Sends what a function returns, or raises."""
    end_with_parent()
    try:
        answer = function(*arguments), None
    except Exception as error:
        answer = None, error
    sender.send(answer)
