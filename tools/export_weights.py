#!/usr/bin/env python3
"""Weights of a network here for other programs: .safetensors, or a model as .onnx."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("export_weights")
