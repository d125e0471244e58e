"""Makes train_lmdb and test_lmdb, which Caffe's Data layers read, from IDX files.

Without --source the images are Fashion-MNIST's, from Debian's package
dataset-fashion-mnist. With it they are those of any data set in MNIST's layout, which
take a folder of their own (--out).
"""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.commands import database_options
from swwae.datasets import fashion_mnist


def main() -> None:
    options = _parser().parse_args()
    if options.fetch:
        print(f"Fashion-MNIST is in {fashion_mnist.package_folder()}.")
        return
    if options.check:
        infos = fashion_mnist.check(options.out)
        end = "Every record was read: the databases are as they were written."
    else:
        infos, changed = fashion_mnist.create(
            options.out,
            source=options.source,
            seed=options.seed,
            side=options.pad_to,
            force=options.force,
        )
        end = "Both were there already: nothing to do (--force makes them anew)."
        end = "" if changed else end
    print("\n".join(filter(None, [*fashion_mnist.summary(infos), end])))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="folder of the four IDX files, plain or .gz: "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte (default: Debian's package "
        f"{fashion_mnist.PACKAGE}, which is installed when it is absent and you are "
        "root); other images than Fashion-MNIST's need --out, too",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=fashion_mnist.HOME,
        metavar="DIR",
        help="where train_lmdb and test_lmdb go (default: data/fashion_mnist)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=fashion_mnist.DEFAULT_SEED,
        metavar="N",
        help="seed of the shuffle (default: %(default)s)",
    )
    parser.add_argument(
        "--pad-to",
        type=at_least(0),
        default=fashion_mnist.DEFAULT_SIDE,
        metavar="N",
        help="pixels of the sides; images are centred among zeros "
        "(default: %(default)s)",
    )
    action = database_options.add_actions(parser)
    action.add_argument(
        "--fetch",
        action="store_true",
        help=f"only install {fashion_mnist.PACKAGE}, where it is absent",
    )
    return parser
