#!/usr/bin/env python3
"""Finds the learning rates of stage 2 by the rule of Table A-1."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("find_lr")
