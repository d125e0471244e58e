#!/usr/bin/env python3
"""Errors of tools/reproduce.py as a figure: of every model (the paper's Table 1), or by
the number of labels.
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("plot_results")
