"""One side of a comparison in a process of its own, which works when it is told to.

Run as a program with a Job in JSON, it builds the network, says so, and then answers
one request a line. `Worker` is the other end. Between requests it sleeps in a read, so
that any number of them can take turns on the same cores.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

KINDS = ("caffe", "torch", "torch-channels-last")


@dataclass(frozen=True)
class Job:
    """What a worker builds.

    kind: one of KINDS. net, solver, inputs: files, of bench_network. weights: without
    its suffix; Caffe reads .caffemodel, PyTorch .npz. updates: whether it takes whole
    training steps; otherwise it has forward and backward passes alone.
    """

    kind: str
    threads: int
    net: str
    solver: str
    inputs: str
    weights: str
    updates: bool


class Refused(Exception):
    """Why a network cannot be had on a side: a sentence without its full stop."""


def memory(what: str) -> int:
    """Bytes that this process holds (VmRSS), or has held at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return 1024 * int(value.split()[0])
    return 0


def _forget_peak() -> None:
    """From now on, VmHWM counts anew: what loading the weights took is not a step's."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available_memory() -> int:
    """Bytes that can still be had, by the machine and the container around us."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [1024 * int(li.split()[1]) for li in lines if li.startswith("MemAvailable")]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    return min(free, default=sys.maxsize)


def arguments_of(text: str) -> Job:
    """A Job from its JSON."""
    given = json.loads(text)
    return Job(**{field.name: given[field.name] for field in fields(Job)})


def joined(arrays: Sequence[Any]) -> Any:
    """A layer's gradients, one after another."""
    import numpy as np

    return np.concatenate([np.asarray(each).ravel() for each in arrays])
