#!/usr/bin/env python3
"""Makes the LMDBs, which Caffe's Data layers read, of STL-10."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("create_stl10")
