#!/usr/bin/env python3
"""Checks whether Caffe, pycaffe and the tools work on this machine."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("selftest")
