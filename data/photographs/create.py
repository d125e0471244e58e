#!/usr/bin/env python3
"""Makes train_lmdb and val_lmdb of photographs, in ILSVRC 2012's format."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    run_path(str(root / "swwae" / "launch.py"))["launch"]("create_photographs")
