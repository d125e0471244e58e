"""What `swwae.base.processes.isolated` is asked for in its tests."""

import ctypes
import os
import signal
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None)


def doubled(value):
    return 2 * value


def process():
    """This process and its parent."""
    return os.getpid(), os.getppid()


def large(numbers):
    """More than a pipe holds."""
    return list(range(numbers))


def refuse(sentence):
    raise ValueError(sentence)


def end_by_signal():
    """Ends as Caffe does: words of Python's and of C's on stderr, then a signal."""
    print("from Python", file=sys.stderr, flush=True)
    line = b"from C\n"
    LIBC.write(2, line, len(line))
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code):
    os._exit(code)


def unsendable():
    """Returns what no pipe takes."""
    return doubled.__get__, sys.stderr


def outlive(path):
    """Says that it has begun, and goes on for a minute."""
    Path(path).write_text(str(os.getpid()))
    LIBC.sleep(60)
