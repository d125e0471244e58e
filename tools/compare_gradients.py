#!/usr/bin/env python3
"""Compares a card's losses and gradients with the CPU's, variant by variant."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("compare_gradients")
