#!/usr/bin/env python3
"""Weights of torchvision's layout, or of any Caffe, for one of the networks here."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("import_weights")
