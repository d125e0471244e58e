"""Databases of raw images of one size, made of sets that people download."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generator.derived import folder_name
from generator.errors import UserError
from generator.labels import ranges_text
from generator.survey import ranges
from swwae.base.progress import Counter
from swwae.base.project import relative
from swwae.datasets import datum_lmdb
from swwae.datasets.database_folders import (
    check_output_folder,
    check_replaceable,
    clear_leftovers,
    free_bytes,
    make_output_folder,
    megabytes,
    nearest_existing,
    only_writer,
    read_info,
)
from swwae.datasets.labelled_images import SHUFFLE, LabelledImages, shuffled_order

DEFAULT_SEED = 0

NAMES = ("train", "val", "test", "unlabelled")
"""Of the databases, in their order: <name>_lmdb."""

Infos = dict[Path, dict[str, Any]]
"""Of databases, by their folders; the training set's first."""


Pairs = Iterable[tuple[np.ndarray, int]]
"""Images, uint8 (C, h, w), with their labels, -1 for none."""


@dataclass(frozen=True)
class ToStore:
    """The images of a database that is to be made.

    count: how many, about. shape: of each: channels, height, width. origin: what
    info.json says of their source, and tells it from another. pairs: yields them in the
    order of the places that it is called with, int64 (count).
    """

    count: int
    shape: tuple[int, int, int]
    origin: Mapping[str, Any]
    pairs: Callable[[np.ndarray], Pairs]


def of_arrays(data: LabelledImages, **how: str) -> ToStore:
    """Returns images that are in memory, or mapped into it.

    how: they were made of their source, for info.json.
    """

    def pairs(order: np.ndarray) -> Pairs:
        for place in order:
            yield data.images[place], int(data.labels[place])

    origin = {"sources_sha256": {each.file: each.sha256 for each in data.sources}}
    return ToStore(len(data), data.shape, origin | how, pairs)


def database_path(out: Path, name: str) -> Path:
    """Returns the folder of a database; name: one of NAMES."""
    return out / f"{name}_lmdb"


def check(out: Path) -> Infos:
    """Reads all databases in `out` back; raises UserError for the first fault, and
    where there is none."""
    paths = [database_path(out, name) for name in NAMES]
    infos = {
        path: datum_lmdb.check(path)
        for path in paths
        if os.path.lexists(path) and "made_from" not in read_info(path)  # few labels'
    }
    if not infos:
        raise UserError(f"there is no database in {out}: make it first")
    return infos


def create(
    out: Path,
    sets: Mapping[str, ToStore],
    *,
    classes: list[str] | None,
    seed: int = DEFAULT_SEED,
    force: bool = False,
) -> tuple[Infos, bool]:
    """Makes the databases of these sets that `out` lacks, shuffled by `seed`.

    sets: by name, one of NAMES. classes: their names, by label; None where they have
    none. force: makes databases that exist anew. Returns the infos of all, and whether
    anything was made; stdout shows how far it is. Raises UserError where what exists
    was made otherwise, or something does not fit.
    """
    check_output_folder(out)
    paths = {name: database_path(out, name) for name in sets}
    prepared = {"seed": seed, "shuffle": SHUFFLE, "classes": classes}
    details = {name: {**prepared, **data.origin} for name, data in sets.items()}
    infos = {}
    for name, path in paths.items():
        if force or not os.path.lexists(path):
            check_replaceable(path)
        else:
            infos[name] = present_info(path, details[name])
    missing = [name for name in sets if name not in infos]
    check_space(
        out,
        [datum_lmdb.database_bytes(sets[n].count, sets[n].shape) for n in missing],
    )
    make_output_folder(out)
    with only_writer(out):
        for path in paths.values():
            clear_leftovers(path)
        for name in missing:
            data = sets[name]
            infos[name] = datum_lmdb.write_images(
                paths[name],
                data.pairs(shuffled_order(data.count, seed)),
                data.count,
                data.shape,
                details[name],
                counter(paths[name], data.count),
            )
    return {paths[name]: infos[name] for name in sets}, bool(missing)


def present_info(path: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the info of the database `path`, which must be as expected.

    expected: how it would be made now. Raises UserError where it was made otherwise, or
    is none.
    """
    try:
        info = read_info(path)
    except UserError as error:
        check_replaceable(path)
        raise UserError(f"{error}: --force makes it anew") from error
    for name, value in expected.items():
        if info.get(name) == value:
            continue
        how = "from other files"
        if isinstance(value, str | int | float):
            how = f"with {name} {info.get(name)}, asked for is {value}"
        raise UserError(
            f"{path} was made {how}: --force makes it anew, --out chooses another"
            " folder"
        )
    return info


def check_space(out: Path, sizes: Iterable[int]) -> None:
    """Raises UserError where databases of these sizes, in bytes, would not fit the
    disk."""
    needed, free = sum(sizes), free_bytes(out)
    if free < needed:
        raise UserError(
            f"the databases take {megabytes(needed)}, {nearest_existing(out)} has "
            f"{megabytes(free)} free: make room, or choose another folder with --out"
        )


def counter(path: Path, count: int) -> Counter:
    """Returns what shows how many images of a database have been stored."""
    return Counter(count, "images", sys.stdout, title=path.name, keep_last=True)


def description(path: Path, info: Mapping[str, Any]) -> str:
    """Returns, for a person, what a database holds."""
    channels, height, width = info["shape"]
    return (
        f"{path}: {info['images']} images, {channels} × {height} × {width} "
        f"(channels × height × width), {labels_text(info['images_per_label'])}"
    )


def labels_text(counts: list[int]) -> str:
    """Returns how many labels have images and, unless they are those from 0 on, which.

    counts: images, by label.
    """
    labels = ranges(label for label, count in enumerate(counts) if count)
    if not labels:
        return "without labels"
    number = sum(1 for count in counts if count)
    text = f"{number} class{'es' if number != 1 else ''}"
    if labels == ((0, number - 1),):
        return text
    return (
        f"{text}, labels {ranges_text(labels)} (a network needs {labels[-1][1] + 1}"
        " outputs for them)"
    )


def summary(infos: Infos, network: str | None) -> list[str]:
    """Returns, for a person, what the databases hold, and the command that makes
    networks for them.

    network: the built-in one that reads such images; None where there is none.
    """
    lines = [description(path, info) for path, info in infos.items()]
    by_name = {path.name.removesuffix("_lmdb"): info for path, info in infos.items()}
    if network is None or not {"train", "test"} <= set(by_name):
        return lines
    train, test = by_name["train"], by_name["test"]
    # The highest labels may have no image.
    counts = [len(info["images_per_label"]) for info in (train, test)]
    classes = max(*counts, len(train.get("classes") or ()))
    folder = next(iter(infos)).absolute().parent
    data = shlex.quote(relative(folder))
    mean = ",".join(f"{value:.3f}" for value in train["mean"])
    command = (
        f".venv/bin/python -m generator {network} --name {folder_name(folder.name)}"
        f" --data {data} --classes {classes} --mean-value {mean}"
        f" --images {train['images']},{test['images']}"
    )
    return [*lines, f"Networks that read them: {command}"]
