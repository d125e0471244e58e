"""Makes the LMDBs of a data set of which few images have labels.

From DIR/train_lmdb: labelled<N>_seed<S>_lmdb, N images, of every class as many (one
more of some where N is no multiple), drawn and shuffled by the seed; and
unlabelled_lmdb, all training images in their order with the label -1. Where the set has
an unlabelled_lmdb of images without labels, as STL-10 does, that stays.
`python -m generator NET --labels N` makes networks that are trained on both.
"""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.datasets import few_labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=few_labels.DEFAULT_FOLDER,
        metavar="DIR",
        help=f"the folder of {few_labels.TRAIN} (default: that of Fashion-MNIST)",
    )
    parser.add_argument("--labels", type=at_least(1), required=True, metavar="N")
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=1,
        metavar="N",
        help="by which the images with labels are drawn (default: %(default)s)",
    )
    parser.add_argument(
        "--force", action="store_true", help="make databases that exist anew"
    )
    options = parser.parse_args()
    databases = few_labels.create(
        options.data, options.labels, options.seed, options.force
    )
    for (path, info), kind in zip(databases, ("with labels", "without labels")):
        if info is None:
            print(f"{path} is there already")
        else:
            print(f"{path}: {info['images']:,} images {kind}")
