"""How busy the machine is with the work of others while something is timed."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

BUSY = 0.1
"""Cores that others may take before the times say so. An idle system's own work takes
0.01 to 0.03 (2 cores of a virtual machine)."""

STAT = Path("/proc/stat")


class Others:
    """Measures the cores that others take: other processes and, where this machine is a
    virtual one, other machines of its host. Of the cores that this process may use."""

    def __init__(self) -> None:
        self._began = self._now()

    def cores(self) -> float:
        """Returns how many cores were taken since `Others` was made, on average; 0
        where the system does not tell."""
        began, now = self._began, self._now()
        elapsed, taken, own = (after - before for after, before in zip(now, began))
        return max(0.0, (taken - own) / elapsed) if elapsed > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system
        return time.monotonic(), _seconds_taken(), mine


def _seconds_taken() -> float:
    """Returns the seconds that this process's cores have computed since the start."""
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    try:
        lines = STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    ticks = 0
    for name, *counts in map(str.split, lines):
        if name in cores:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, counts[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def sentence(cores: Sequence[float]) -> str | None:
    """Returns what is to be said of turns in which others took so many cores; None
    where they took hardly any in all of them."""
    disturbed = [taken for taken in cores if taken > BUSY]
    if not disturbed:
        return None
    turns = "turn" if len(cores) == 1 else "turns"
    return (
        f"The machine was busy in {len(disturbed)} of {len(cores)} {turns}: others took"
        f" {max(disturbed):.1f} of {len(os.sched_getaffinity(0))} cores at worst. These"
        " times are too long; for figures, run this again when nothing else runs."
    )
