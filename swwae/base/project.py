"""Where the project is, and where its parts are found.

This is the one place for the checkout's own paths. Those of a run, its network and its
solver are `swwae.runs.run.Run`'s.
"""

import os
from pathlib import Path

from swwae.launch import BUILD_COMMAND, INSTALL_COMMAND, ROOT

__all__ = [
    "BUILD_COMMAND",
    "CAFFE",
    "INSTALL_COMMAND",
    "ROOT",
    "RUNS",
    "locate",
    "relative",
]

CAFFE = ROOT / "build" / "caffe" / "bin" / "caffe"
"""The program of the patched Caffe."""

RUNS = ROOT / os.environ.get("RUNS_DIR", "runs")
"""Where runs go: runs/, unless RUNS_DIR says otherwise (the quick demo's do)."""


def relative(path: Path) -> str:
    """Returns the path as people and status.json see it: relative to the root."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def locate(path: Path | str) -> Path:
    """Returns the path as it is given where there is something, or nothing in the
    project either; else relative to the project's root."""
    path = Path(path).expanduser()
    return ROOT / path if not path.exists() and (ROOT / path).exists() else path
