#!/usr/bin/env python3
"""Finds loss weights that make the weighted losses comparable (Section 4.1)."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("balance_losses")
