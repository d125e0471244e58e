#!/usr/bin/env python3
"""Whether two engines of the fork train equally well: with several seeds each, from
nothing through every stage, and tests of what the trainings end with.
"""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("compare_engines")
