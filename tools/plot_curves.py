#!/usr/bin/env python3
"""Training curves of runs (the paper's Figure A-2): validation accuracy, and a panel a
loss, all runs in each.
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("plot_curves")
