"""The generator as it is started by a person."""

import os
import subprocess
import sys

from swwae.base.project import ROOT


def generate(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "generator", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def tree(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
