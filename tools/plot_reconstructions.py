#!/usr/bin/env python3
"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5).
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("plot_reconstructions")
