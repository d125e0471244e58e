"""Fashion-MNIST, and any data set in MNIST's layout, as train_lmdb and test_lmdb."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import datum_lmdb, debian, idx, raw_databases
from swwae.datasets.database_folders import (
    check_output_folder,
    check_replaceable,
    clear_leftovers,
    make_output_folder,
    megabytes,
    only_writer,
    read_info,
)
from swwae.datasets.labelled_images import SHUFFLE, LabelledImages
from swwae.datasets.raw_databases import Infos

HOME = ROOT / "data" / "fashion_mnist"
"""Where Fashion-MNIST's own databases go, and nothing else."""

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PACKAGE_MEGABYTES = 30

SPLITS = ("train", "test")

SHA256 = {
    "train": {
        "images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    "test": {
        "images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""Of the four files' uncompressed content, as it was published."""

DEFAULT_SEED = 0
DEFAULT_SIDE = 32
"""Pixels; it divides by 8, as three poolings want it."""


def database_paths(out: Path) -> dict[str, Path]:
    """Returns the folders of the databases in `out`, by split."""
    return {split: out / f"{split}_lmdb" for split in SPLITS}


def check(out: Path) -> Infos:
    """Reads both databases in `out` back; raises UserError for the first fault."""
    return {path: datum_lmdb.check(path) for path in database_paths(out).values()}


def create(
    out: Path,
    *,
    source: Path | None = None,
    seed: int = DEFAULT_SEED,
    side: int = DEFAULT_SIDE,
    force: bool = False,
) -> tuple[Infos, bool]:
    """Makes the databases that `out` lacks, and says how far it is on stdout.

    source: folder of the four IDX files (None: those of Debian's package, which is
    installed where it is missing). seed: of the shuffle. side: pixels of the images,
    which are centred among zeros. force: makes databases that exist anew. Returns the
    infos of both, and whether anything was made. Raises UserError where the files are
    unfit, what exists was made otherwise, or something does not fit.
    """
    paths = database_paths(out)
    details = {"seed": seed, "shuffle": SHUFFLE, "padded_to": side}
    check_output_folder(out)
    sets = idx.read_folder(source) if source else {}
    if source and out.resolve() == HOME:
        remedy = f"{HOME} is for those alone, give others a folder with --out"
        check_fashion_mnist(sets, source, remedy)
    expected = {split: source_hashes(data) for split, data in sets.items()} or SHA256
    present = {}
    for split, path in paths.items():
        if force or not os.path.lexists(path):
            check_replaceable(path)
        else:
            present[path] = read_present(path, details, expected[split])
    missing = {split: path for split, path in paths.items() if path not in present}
    if missing and not sets:
        folder = package_folder()
        sets = idx.read_folder(folder)
        check_fashion_mnist(sets, folder, f"install {PACKAGE} anew")
    check_space(out, [sets[split] for split in missing], side)
    prepared = {
        path: prepare(sets[split], seed, side) for split, path in missing.items()
    }
    infos = write(out, prepared, details) | present
    return {path: infos[path] for path in paths.values()}, bool(missing)


def summary(infos: Infos) -> list[str]:
    """Returns, for a person, what the databases hold; the training set comes first."""
    lines = [raw_databases.description(path, info) for path, info in infos.items()]
    train = next(iter(infos.values()))
    mean = ", ".join(f"{value:.4f}" for value in train["mean"])
    return [*lines, f"Mean pixel of the training images, padded, of 0 to 255: {mean}"]


def check_fashion_mnist(
    sets: Mapping[str, LabelledImages], folder: Path, remedy: str
) -> None:
    """Raises UserError where `sets`, read from `folder`, are not Fashion-MNIST."""
    if {split: source_hashes(data) for split, data in sets.items()} != SHA256:
        raise UserError(f"the four files in {folder} are not Fashion-MNIST's: {remedy}")


def read_present(
    path: Path, details: Mapping[str, Any], expected_hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the info of the database `path`, which must be what is asked for now.

    details: how it has to be prepared; expected_hashes: of the files it has to be made
    from. Raises UserError where it was made otherwise.
    """
    try:
        info = read_info(path)
    except UserError as error:
        check_replaceable(path)
        raise UserError(f"{error}: --force makes it anew") from error
    if info.get("sources_sha256") != expected_hashes:
        fashion = expected_hashes in SHA256.values()
        raise UserError(
            f"{path} was not made from "
            + (
                "Fashion-MNIST: give --source the folder it was made from"
                if fashion
                else "the files of --source"
            )
            + ", or --out another folder, or make it anew with --force"
        )
    for name, value in details.items():
        if info.get(name) != value:
            raise UserError(
                f"{path} was made with {name} {info.get(name)}, asked for is {value}: "
                "--force makes it anew, --out chooses another folder"
            )
    return info


def source_hashes(data: LabelledImages) -> dict[str, str]:
    """Returns the SHA-256 of the files that `data` came from, by kind."""
    kinds = ("images", "labels")
    return {kind: source.sha256 for kind, source in zip(kinds, data.sources)}


def package_folder() -> Path:
    """Returns where Debian's package has its files.

    Raises UserError where it cannot be installed.
    """
    return debian.package_folder(
        PACKAGE,
        PACKAGE_FOLDER,
        "Fashion-MNIST",
        PACKAGE_MEGABYTES,
        "give --source a folder with the four IDX files",
    )


def check_space(out: Path, sets: list[LabelledImages], side: int) -> None:
    """Raises UserError where databases of `sets`, padded, would not fit the disk."""
    shapes = [(len(data), data.padded_shape(side)) for data in sets]
    raw_databases.check_space(
        out, [datum_lmdb.database_bytes(*each) for each in shapes]
    )


def prepare(data: LabelledImages, seed: int, side: int) -> LabelledImages:
    """Returns the images shuffled and padded.

    Raises UserError where that takes more memory than there is.
    """
    try:
        return data.shuffled(seed).padded(side)
    except MemoryError as error:
        needed = len(data) * math.prod(data.padded_shape(side))
        raise UserError(
            f"{len(data)} images of {side} × {side} pixels take "
            f"{megabytes(needed)} of memory, which this machine does not have: give a "
            "smaller --pad-to"
        ) from error


def write(
    out: Path, prepared: Mapping[Path, LabelledImages], details: Mapping[str, Any]
) -> Infos:
    """Writes the databases `prepared`, by their paths; returns their infos.

    What earlier, interrupted runs left beside either database of `out` is removed.
    """
    make_output_folder(out)
    infos = {}
    with only_writer(out):
        for path in database_paths(out).values():
            if path not in prepared:
                clear_leftovers(path)
                continue
            data = prepared[path]
            origin = {
                "sources": [source.file for source in data.sources],
                "sources_sha256": source_hashes(data),
            }
            progress = raw_databases.counter(path, len(data))
            infos[path] = datum_lmdb.write(path, data, {**details, **origin}, progress)
    return infos
