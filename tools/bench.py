#!/usr/bin/env python3
"""Times whole training steps of a network: forward, backward, update."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("bench")
