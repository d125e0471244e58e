"""Makes train_lmdb and val_lmdb of photographs, in ILSVRC 2012's format.

They are for trying the networks of ILSVRC 2012 at their real size where that data set
is not at hand. Some thirty photographs, of scikit-image and of Debian's packages
mate-backgrounds and plasma-workspace-wallpapers, are cut into overlapping pieces of 500
x 375 pixels, the size of a typical image there; each photograph is a class. Every
eighth piece of a photograph is for validation.
"""

import argparse
import os
import sys
from pathlib import Path

from swwae.datasets import ilsvrc12, photographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--out",
        type=Path,
        default=photographs.HOME,
        metavar="DIR",
        help="where the databases go (default: data/photographs;"
        " data/ilsvrc12 is where the networks look)",
    )
    parser.add_argument("--force", action="store_true", help="make them anew")
    options = parser.parse_args()
    files = photographs.photographs()
    print(f"{len(files)} photographs, {photographs.PIECES} pieces of each")
    parts = photographs.PARTS
    photographs.cut(files, parts)
    command = [sys.executable, ilsvrc12.HOME / "create.py"]
    command += ["--train", parts / "train", "--val", parts / "val"]
    command += ["--out", options.out, *(["--force"] if options.force else [])]
    sys.stdout.flush()
    os.execv(sys.executable, command)
