#!/usr/bin/env python3
"""One page that shows whole runs: how they were made, errors beside the paper's Table
1, training curves, reconstructions, filters, losses, time and memory.
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("report")
