"""What a result was made with: versions, threads, processor."""

import os
import platform
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from swwae.base.processes import cores
from swwae.base.project import ROOT

THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that say how many threads compute."""


def versions(caffe: Path) -> dict[str, str | None]:
    """Returns the versions of the project (git), Caffe, the fork it was built from, and
    Python.

    caffe: its program, build/caffe/bin/caffe. What cannot be found out is None.
    """
    return {
        "project": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "caffe": _output(str(caffe), "--version"),
        "fork": _first_word(caffe.parents[1] / "made-from"),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "protobuf": version("protobuf"),
    }


def host() -> dict[str, Any]:
    """Returns the processor, the cores this process may use, and limits of threads."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "threads": {n: os.environ[n] for n in THREAD_SETTINGS if n in os.environ},
    }


def _cpu_model() -> str | None:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine() or None


def _first_word(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return None


def _output(*command: str) -> str | None:
    """Returns the first line that a command prints; None where it cannot or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip().partition("\n")[0] or None


def now() -> str:
    """Returns the local time with its zone, to the second (ISO 8601)."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
