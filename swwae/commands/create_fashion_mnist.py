"""Makes train_lmdb and test_lmdb, which Caffe's Data layers read, from IDX files.

Without --source the images are Fashion-MNIST's, from Debian's package
dataset-fashion-mnist. With it they are those of any data set in MNIST's layout, which
take a folder of their own (--out).
"""

import argparse
import math
import os
import shutil
import sys
from pathlib import Path

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import (
    creating,
    datum_lmdb,
    debian,
    idx,
)
from swwae.datasets.labelled_images import SHUFFLE, LabelledImages

HERE = ROOT / "data" / "fashion_mnist"


PACKAGE = "dataset-fashion-mnist"


PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")


PACKAGE_MEGABYTES = 30


SPLITS = ("train", "test")


# Of the four files' uncompressed content; it has not changed since it was published.
FASHION_MNIST_SHA256 = {
    "train": {
        "images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    "test": {
        "images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}


DEFAULT_SEED = 0


DEFAULT_SIDE = 32  # divides by 8, as three poolings want it


def main() -> None:
    arguments = parse_arguments()
    out, source = arguments.out, arguments.source
    paths = {split: out / f"{split}_lmdb" for split in SPLITS}
    if arguments.check:
        print_summary({path: datum_lmdb.check(path) for path in paths.values()})
        print("Every record was read: the databases are as they were written.")
        return

    made_with = {
        "seed": arguments.seed,
        "shuffle": SHUFFLE,
        "padded_to": arguments.pad_to,
    }
    creating.check_writable(out)
    sets = idx.read_folder(source) if source else {}
    if source and out.resolve() == HERE:
        mend = f"{HERE} is for those alone, give others a folder with --out"
        check_fashion_mnist(sets, source, mend)
    wanted = {split: hashes(data) for split, data in sets.items()}
    present = {}
    for split, path in paths.items():
        if arguments.force or not os.path.lexists(path):
            datum_lmdb.check_replaceable(path)
        else:
            present[path] = read_present(
                path, made_with, (wanted or FASHION_MNIST_SHA256)[split]
            )
    missing = {split: path for split, path in paths.items() if path not in present}
    if missing and not sets:
        folder = package_folder()
        sets = idx.read_folder(folder)
        check_fashion_mnist(sets, folder, f"install {PACKAGE} anew")
    check_space(out, [sets[split] for split in missing], arguments.pad_to)
    prepared = {
        path: prepare(sets[split], arguments) for split, path in missing.items()
    }

    infos = make(out, paths, prepared, made_with) | present
    print_summary({path: infos[path] for path in paths.values()})
    if not missing:
        print("Both were there already: nothing to do (--force makes them anew).")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="folder of the four IDX files, plain or .gz: "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        f"t10k-labels-idx1-ubyte (default: Debian's package {PACKAGE}, which is "
        "installed when it is absent and you are root); other images than "
        "Fashion-MNIST's need --out, too",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="where train_lmdb and test_lmdb go (default: the folder of this script)",
    )
    parser.add_argument(
        "--seed",
        type=creating.natural_number,
        default=DEFAULT_SEED,
        metavar="N",
        help="seed of the shuffle (default: %(default)s)",
    )
    parser.add_argument(
        "--pad-to",
        type=creating.natural_number,
        default=DEFAULT_SIDE,
        metavar="N",
        help="pixels of the sides; images are centred among zeros "
        "(default: %(default)s)",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--force", action="store_true", help="make databases that exist anew"
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="only read the databases back and compare them with their info.json",
    )
    return parser.parse_args()


def check_fashion_mnist(
    sets: dict[str, LabelledImages], folder: Path, mend: str
) -> None:
    """Raise UserError where `sets`, read from `folder`, are not Fashion-MNIST."""
    if {split: hashes(data) for split, data in sets.items()} != FASHION_MNIST_SHA256:
        raise UserError(f"the four files in {folder} are not Fashion-MNIST's: {mend}")


def read_present(path: Path, made_with: dict, wanted_hashes: dict[str, str]) -> dict:
    """The info of the database `path`, which must be what is asked for now.

    `wanted_hashes` are those of the files it has to be made from. Raises UserError
    where it was made otherwise.
    """
    try:
        info = datum_lmdb.read_info(path)
    except UserError as error:
        datum_lmdb.check_replaceable(path)
        raise UserError(f"{error}: --force makes it anew") from error
    if info.get("sources_sha256") != wanted_hashes:
        fashion = wanted_hashes in FASHION_MNIST_SHA256.values()
        raise UserError(
            f"{path} was not made from "
            + (
                "Fashion-MNIST: give --source the folder it was made from"
                if fashion
                else "the files of --source"
            )
            + ", or --out another folder, or make it anew with --force"
        )
    for name, value in made_with.items():
        if info.get(name) != value:
            raise UserError(
                f"{path} was made with {name} {info.get(name)}, asked for is {value}: "
                "--force makes it anew, --out chooses another folder"
            )
    return info


def hashes(data: LabelledImages) -> dict[str, str]:
    """The SHA-256 of the files that `data` came from, by kind."""
    kinds = ("images", "labels")
    return {kind: source.sha256 for kind, source in zip(kinds, data.sources)}


def package_folder() -> Path:
    """Where Debian's package has its files; UserError where it cannot be installed."""
    return debian.package_folder(
        PACKAGE,
        PACKAGE_FOLDER,
        "Fashion-MNIST",
        PACKAGE_MEGABYTES,
        "give --source a folder with the four IDX files",
    )


def check_space(out: Path, sets: list[LabelledImages], side: int) -> None:
    """Raise UserError where databases of `sets`, padded, would not fit the disk."""
    folder = creating.nearest_existing(out)
    needed = sum(
        datum_lmdb.database_bytes(len(data), data.padded_shape(side)) for data in sets
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the databases take {datum_lmdb.megabytes(needed)}, {folder} has "
            f"{datum_lmdb.megabytes(free)} free: make room, or choose another folder "
            "with --out"
        )


def prepare(data: LabelledImages, arguments: argparse.Namespace) -> LabelledImages:
    """Shuffle and pad; raises UserError where that takes more memory than there is."""
    side = arguments.pad_to
    try:
        return data.shuffled(arguments.seed).padded(side)
    except MemoryError as error:
        needed = len(data) * math.prod(data.padded_shape(side))
        raise UserError(
            f"{len(data)} images of {side} × {side} pixels take "
            f"{datum_lmdb.megabytes(needed)} of memory, which this machine does not "
            "have: give a smaller --pad-to"
        ) from error


def make(
    out: Path,
    paths: dict[str, Path],
    prepared: dict[Path, LabelledImages],
    made_with: dict,
) -> dict[Path, dict]:
    """Write the databases that `prepared` has images for; return their infos.

    What earlier, interrupted runs left beside any of `paths` is removed.
    """
    creating.make_folder(out)
    infos = {}
    with datum_lmdb.only_writer(out):
        for path in paths.values():
            if path not in prepared:
                datum_lmdb.clear_leftovers(path)
                continue
            data = prepared[path]
            details = {
                **made_with,
                "sources": [source.file for source in data.sources],
                "sources_sha256": hashes(data),
            }
            infos[path] = datum_lmdb.write(path, data, details, Progress(path.name))
    return infos


class Progress:
    """Says how far a database is: one live line on a terminal, else four lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.quarter = 0

    def __call__(self, done: int, total: int) -> None:
        line = f"{self.name}: {done} of {total} images"
        if sys.stdout.isatty():
            print(f"\r{line}", end="\n" if done == total else "", flush=True)
        elif 4 * done // total > self.quarter:
            self.quarter = 4 * done // total
            print(line, flush=True)


def print_summary(infos: dict[Path, dict]) -> None:
    """Say, for a person, what the databases hold; the training set comes first."""
    for path, info in infos.items():
        channels, height, width = info["shape"]
        print(
            f"{path}: {info['images']} images, {channels} × {height} × {width} "
            f"(channels × height × width), {len(info['images_per_label'])} classes"
        )
    train = next(iter(infos.values()))
    mean = ", ".join(f"{value:.4f}" for value in train["mean"])
    print(f"Mean pixel of the training images, padded, of 0 to 255: {mean}")
