"""NVIDIA's MPS, by which processes compute on a card at once instead of in turns."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

CONTROL = "nvidia-cuda-mps-control"

SECONDS = 20
"""That the service gets to start, and to end."""


@contextmanager
def shared_card() -> Iterator[dict[str, str] | None]:
    """Starts a service of our own, and yields what its clients have in the environment.

    It is ended at the end. None where there is no such service, or it does not start.
    """
    if shutil.which(CONTROL) is None:
        yield None
        return
    with TemporaryDirectory(prefix="mps-") as folder:
        where = {
            "CUDA_MPS_PIPE_DIRECTORY": os.path.join(folder, "pipe"),
            "CUDA_MPS_LOG_DIRECTORY": os.path.join(folder, "log"),
        }
        for place in where.values():
            os.mkdir(place)
        if not _control(where, "-d"):
            yield None
            return
        try:
            yield where
        finally:
            _control(where, words="quit\n")


def _control(where: dict[str, str], *arguments: str, words: str = "") -> bool:
    """Tells whether the service's program ended well."""
    try:
        done = subprocess.run(
            [CONTROL, *arguments],
            env=os.environ | where,
            input=words,
            text=True,
            stdout=subprocess.DEVNULL,  # the service keeps it open
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
