"""Where the project is, and where its parts are found.

This is the one place for the checkout's own paths. Those of a run, its network and its
solver are `swwae.runs.run.Run`'s.
"""

import os
from pathlib import Path

from generator import caffe_build
from generator.errors import UserError
from swwae.base.settings import require_settings
from swwae.launch import (
    BUILD_COMMAND,
    GPU_BUILD_COMMAND,
    INSTALL_COMMAND,
    NOT_BUILT,
    ROOT,
)

__all__ = [
    "BUILD_COMMAND",
    "CAFFE",
    "GPU_BUILD_COMMAND",
    "INSTALL_COMMAND",
    "ROOT",
    "RUNS",
    "locate",
    "relative",
    "require_caffe",
]

CAFFE = Path(caffe_build.folder()) / "bin" / "caffe"
"""The program of the patched Caffe: build/caffe-cuda's where that is built, else
build/caffe's, unless CAFFE_BUILD says otherwise."""

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


def require_caffe() -> None:
    """Raises UserError where the program of the patched Caffe is not there, or where
    the environment says to it what it does not take."""
    require_settings()
    if CAFFE.is_file():
        return
    raise UserError(caffe_build.wrong_choice() or NOT_BUILT)
