#!/usr/bin/env python3
"""Weights for deploy_conv.prototxt: inner products as convolutions."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("to_convolution")
