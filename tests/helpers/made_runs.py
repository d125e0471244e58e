"""Folders of runs as stages leave them, without training."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import caffe
import numpy as np
from PIL import Image

from swwae.base import project
from swwae.runs.run import Run


def make(
    root: Path, variant: str, stage: int, weights: Path | None = None, **more
) -> Run:
    """A stage of vgg8 with a status, and with what it left.

    weights: those of a finished stage. more: depth; state, iterations and whatever else
    of the status; log: text; solver: text.
    """
    run = Run("vgg8", variant, stage, more.pop("depth", None), root)
    run.folder.mkdir(parents=True)
    run.log.write_text(more.pop("log", ""))
    (run.folder / "solver.prototxt").write_text(more.pop("solver", ""))
    if weights is not None:
        run.final_weights.write_bytes(weights.read_bytes())
    run.write_status({"state": "finished", "iterations": 60, "max_iter": 60} | more)
    return run


def record(path: Path) -> dict[str, str]:
    """A weights file as status.json names it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": digest}


def random_weights(variant: str, path: Path, seed: int = 0) -> caffe.Net:
    """vgg8's, random but sane; the network that has them, too."""
    net = caffe.Net(
        str(project.ROOT / f"models/vgg8/{variant}/deploy.prototxt"), caffe.TEST
    )
    random = np.random.default_rng(seed)
    for blobs in net.params.values():
        scale = (2 / np.prod(blobs[0].shape[1:])) ** 0.5
        blobs[0].data[...] = random.normal(0, scale, blobs[0].shape)
        blobs[1].data[...] = random.normal(0, 0.1, blobs[1].shape)
    net.save(str(path))
    return net


def pixels_of(path: Path) -> np.ndarray:
    """int (H, W, 3), RGB, of a PNG."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def call(main: Callable[[], int], *arguments: object) -> None:
    """A program's `main` with a command line, in this process; raises what it does."""
    with patch.object(sys, "argv", ["program.py", *map(str, arguments)]):
        assert main() == 0


def tool(
    name: str, *arguments: object, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """A program of tools/ as it is started by a person. code: that it must end with."""
    done = subprocess.run(
        [project.ROOT / "tools" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
