#!/usr/bin/env python3
"""Makes the LMDBs of a data set of which few images have labels."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("few_labels")
