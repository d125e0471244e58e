#!/usr/bin/env python3
"""Table 1, Figure A-3's table and classification with few labels at the scale of
Fashion-MNIST, several seeds each, from nothing.
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("reproduce")
