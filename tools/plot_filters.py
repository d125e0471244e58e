#!/usr/bin/env python3
"""A layer's filters before and after finetuning, and how much every layer's weights
changed (the paper's A2.1 and Figure A-1).
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("plot_filters")
