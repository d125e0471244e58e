"""How much memory this process holds, and how much there is to be had (Linux)."""

import sys
from contextlib import suppress
from pathlib import Path


def resident_memory() -> int:
    """Returns the bytes that this process holds now."""
    return _of_this_process("VmRSS")


def peak_memory() -> int:
    """Returns the most bytes that this process has held, since `forget_peak` if that
    was called."""
    return _of_this_process("VmHWM")


def forget_peak() -> None:
    """Makes `peak_memory` count anew, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available_memory() -> int:
    """Returns the bytes that can still be had, by the machine and by our container."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [1024 * int(li.split()[1]) for li in lines if li.startswith("MemAvailable")]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    return min(free, default=sys.maxsize)


def _of_this_process(name: str) -> int:
    """Returns a field of /proc/self/status in bytes; 0 where there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    return 0
