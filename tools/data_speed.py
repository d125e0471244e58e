#!/usr/bin/env python3
"""How many images per second a network's data layer makes, by number of threads."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("data_speed")
