"""What the create.py of every data set does with its arguments and with --out."""

import argparse
import os
import sys
from pathlib import Path
from time import monotonic

from generator.errors import UserError
from swwae.base.progress import duration


def natural_number(text: str) -> int:
    """An argument's type: a whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def nearest_existing(path: Path) -> Path:
    """`path` itself, or the first of its parents that is there."""
    candidates = (path, *path.absolute().parents)
    return next(each for each in candidates if os.path.exists(each))


def check_writable(out: Path) -> None:
    """Raise UserError where databases cannot be made in `out`, present or future."""
    folder = nearest_existing(out)
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give --out a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} is not writable: choose another folder with --out")


def make_folder(out: Path) -> None:
    """Make the folder of the databases; raises UserError where that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from error


class ImageProgress:
    """How far a long work on images is: one live line on a terminal, else some lines.

    what: is done to them, as in "train_lmdb: reading". Call it with how many are done,
    and how many there are (0: unknown).
    """

    SCREEN_INTERVAL = 0.2
    LINE_INTERVAL = 30.0
    """Seconds between two showings, on a terminal and elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._screen = sys.stdout.isatty()
        self._interval = self.SCREEN_INTERVAL if self._screen else self.LINE_INTERVAL
        self._began = self._shown = monotonic()
        self._first: int | None = None  # done when it was called first

    def __call__(self, done: int, total: int = 0) -> None:
        now = monotonic()
        if self._first is None:
            self._first, self._began = done, now
        if now - self._shown >= self._interval or (done == total and self._screen):
            self._shown = now
            self._show(done, total, now)

    def end(self) -> None:
        """Where there was no total: leave a terminal's line for what comes next."""
        if self._screen:
            print("\r\x1b[K", end="", flush=True)

    def _show(self, done: int, total: int, now: float) -> None:
        rate = (done - self._first) / max(now - self._began, 1e-3)
        line = f"{self._what}: {done:,}"
        if total:
            line += f" of {total:,} images ({done / total:.0%})"
        else:
            line += " images"
        line += f", {rate:,.0f} images/s"
        if total and rate:
            line += f", {duration((total - done) / rate)} left"
        if self._screen:
            ending = "\n" if done == total else ""
            print(f"\r\x1b[K{line}", end=ending, flush=True)
        else:
            print(line, flush=True)
