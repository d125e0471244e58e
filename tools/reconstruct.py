#!/usr/bin/env python3
"""Images above what a decoder makes of their features."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("reconstruct")
