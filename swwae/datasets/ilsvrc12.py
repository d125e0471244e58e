"""ILSVRC 2012, or any images with classes, as train_lmdb and val_lmdb of JPEGs."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base.progress import Counter
from swwae.base.project import ROOT
from swwae.datasets import encoded_lmdb, image_sources, jpegs
from swwae.datasets.database_folders import (
    DATABASE,
    check_replaceable,
    free_bytes,
    megabytes,
    partial_of,
    read_info,
    restore_old,
)
from swwae.datasets.encoded_records import Form
from swwae.datasets.encoded_state import partial_images, partial_state
from swwae.datasets.found_images import FoundImages
from swwae.datasets.image_sources import Source
from swwae.datasets.labelled_images import SHUFFLE

HOME = ROOT / "data" / "ilsvrc12"
SPLITS = ("train", "val")

DEFAULT_MAX_SIDE = 512
"""Twice the crops' size: the paper's largest scale."""

DEFAULT_QUALITY = 95

LINE_INTERVAL = 30.0
"""Seconds between two lines of progress, where it goes to no terminal."""

Infos = dict[Path, dict[str, Any]]
"""Of databases, by their folders; the training set's first."""


@dataclass
class Split:
    """One database to make.

    found: None until it is needed. info: where the database is complete. done: images
    that an interrupted run has seen to; None where there was none.
    """

    name: str
    path: Path
    source: Source
    made_from: dict[str, Any]
    found: FoundImages | None
    info: dict[str, Any] | None = None
    done: int | None = None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes by label; None where they have no names."""
        return _classes(self.info) if self.info else self.found.classes

    @property
    def labels(self) -> int:
        """How many labels there are, from 0 to the largest."""
        return len(self.info["images_per_label"]) if self.info else self.found.labels


def check(out: Path, jobs: int) -> Infos:
    """Decodes the databases in `out`, by `jobs` processes; prints how far it is.

    Raises UserError for the first fault.
    """
    paths = [path for name in SPLITS if os.path.lexists(path := out / f"{name}_lmdb")]
    if not paths:
        raise UserError(f"there is neither train_lmdb nor val_lmdb in {out}")
    infos = {path: read_info(path) for path in paths}
    for path, info in infos.items():
        print(f"Reading {path}: {info['images']:,} images, {jobs} jobs", flush=True)
        progress = _counter(f"{path.name}: checking", info["images"])
        infos[path] = encoded_lmdb.check(path, jobs, progress)
    return infos


def create(
    sources: Mapping[str, Source],
    out: Path,
    *,
    form: Form,
    jobs: int,
    strict: bool = False,
    force: bool = False,
) -> tuple[Infos, bool]:
    """Makes, or goes on with, the databases of these sources; prints how far it is.

    sources: by split, "train" or "val". jobs: processes that read and encode. strict:
    ends at the first file that cannot be stored. force: makes anew what exists. Returns
    the infos, and whether anything was made. Raises UserError where what exists was
    made otherwise, the splits have not the same classes, or the disk is too small.
    """
    splits = [
        prepare(name, out / f"{name}_lmdb", source, form, strict=strict, force=force)
        for name, source in sources.items()
    ]
    check_same_classes(splits, out)
    missing = [split for split in splits if split.info is None]
    for split in splits:
        print(announcement(split, form, jobs), flush=True)
    check_space(out, missing, form)
    for split in missing:
        progress = _counter(split.path.name, len(split.found.index), split.done or 0)
        split.info = encoded_lmdb.write(
            split.path,
            split.found,
            form,
            made_from=split.made_from,
            jobs=jobs,
            strict=strict,
            report=skipped_list(split.path),
            progress=progress,
        )
    return {split.path: split.info for split in splits}, bool(missing)


def prepare(
    name: str, path: Path, source: Source, form: Form, *, strict: bool, force: bool
) -> Split:
    """Returns what is to be done for one database.

    Raises UserError where what exists, whole or in part, was made otherwise.
    """
    restore_old(path)
    check_replaceable(path)
    if force:
        shutil.rmtree(partial_of(path), ignore_errors=True)
    origin = {"source": source.path.name, "kind": source.kind}
    found = None
    if source.kind in image_sources.TARS:
        origin["tars"] = source.tar_stamps()
    else:
        found = find(source)
        origin["images"] = len(found.index)
        origin["sha256"] = found.index.sha256()
        origin["skipped"] = len(found.skipped)
    made_from = {**origin, **asdict(form), "shuffle": SHUFFLE}
    made_from = json.loads(json.dumps(made_from | {"encoder": jpegs.encoder()}))
    split = Split(name, path, source, made_from, found)

    partial = partial_state(path)
    if partial is not None:
        check_made_alike(partial_of(path), partial.made_from, made_from, "goes on with")
        split.done = partial.done
        split.found = found or partial_images(path, source.tars())
    elif os.path.lexists(path) and not force:
        split.info = _present_info(path, made_from, strict)
        return split
    split.found = split.found or find(source)
    return split


def _present_info(path: Path, made_from: dict[str, Any], strict: bool) -> dict:
    """Returns the info of a complete database; raises UserError as `prepare` does."""
    try:
        info = read_info(path)
    except UserError as error:
        raise UserError(f"{error}: --force makes it anew") from error
    # Another version of the encoder is no reason to make it anew.
    found = info.get("made_from", {}) | {"encoder": made_from["encoder"]}
    check_made_alike(path, found, made_from, "keeps")
    if strict and info["skipped"]:
        raise UserError(
            f"{path} lacks {info['skipped']} files, which {skipped_list(path)} lists: "
            "without --strict it stays as it is"
        )
    return info


def find(source: Source) -> FoundImages:
    """Finds the source's images; prints how many it has found."""
    print(f"Looking through {source.path} ({source.kind})", flush=True)
    progress = _counter(f"{source.path.name}: found", 0)
    found = source.find(progress)
    progress.clear()
    return found


def check_made_alike(
    path: Path, found: Mapping[str, Any], expected: Mapping[str, Any], verb: str
) -> None:
    """Raises UserError where two accounts of what a database is made from differ.

    verb: what the command that it was made with does with it, for the sentence.
    """
    for name, value in expected.items():
        if found.get(name) == value:
            continue
        difference = (
            f"with {name.replace('_', '-')} {found.get(name)}, asked for is {value}"
            if name in (*Form.__dataclass_fields__, "shuffle", "encoder", "kind")
            else "from other files, or they have been changed"
        )
        raise UserError(
            f"{path} was made {difference}: --force makes it anew, --out chooses "
            f"another folder, the command that it was made with {verb} it"
        )


def check_same_classes(splits: list[Split], out: Path) -> None:
    """Raises UserError where the two databases do not number the same classes.

    One of them may be in `out` already.
    """
    known = {split.name: (split.classes, split.labels) for split in splits}
    remedy = "both must have the same classes, or labels would differ"
    for name in SPLITS:
        path = out / f"{name}_lmdb"
        if name in known or not os.path.lexists(path):
            continue
        try:
            info = read_info(path)
        except UserError:
            continue  # no database of ours
        known[name] = _classes(info), len(info["images_per_label"])
        remedy = f"{path} is there already; give --{name}, too, and --force, or --out"
    if len(known) < len(SPLITS):
        return
    (train, train_labels), (val, val_labels) = (known[name] for name in SPLITS)
    if train is not None and val is not None:
        if train != val:
            only = sorted(set(train) ^ set(val))[0]
            side = "training" if only in train else "validation"
            raise UserError(
                f"the training images have {len(train)} classes, the validation images "
                f"{len(val)}, and {only} is in the {side} images alone: {remedy}"
            )
        return
    train_count = train_labels if train is None else len(train)
    if val_labels > train_count or (val is not None and train_labels > len(val)):
        raise UserError(
            f"the training images have labels up to {train_labels - 1}, the validation "
            f"images up to {val_labels - 1}: {remedy}"
        )


def _classes(info: dict[str, Any]) -> tuple[str, ...] | None:
    classes = info.get("classes")
    return None if classes is None else tuple(classes)


def announcement(split: Split, form: Form, jobs: int) -> str:
    """Returns what is about to be done for one database."""
    if split.info:
        return f"{split.path}: is there already, made from the same"
    index, skipped = split.found.index, split.found.skipped
    size = encoded_lmdb.estimated_bytes(index, form.max_side)
    verb = "will be made" if split.done is None else "goes on"
    edge = f"shorter edge at most {form.max_side}" if form.max_side else "any size"
    classes = f"{split.labels:,} classes"
    if names := split.classes:
        classes = f"{len(names):,} classes ({names[0]!a} to {names[-1]!a})"
    text = (
        f"{split.path}: {verb}: {len(index):,} images ({edge}) in {classes}, "
        f"about {megabytes(size)}, {jobs} jobs"
    )
    if skipped:
        text += f"\n  {len(skipped):,} files beside them are no images to store"
    return text


def check_space(out: Path, splits: list[Split], form: Form) -> None:
    """Raises UserError where what is to be written would not fit the disk."""
    needed = 0
    for split in splits:
        partial = partial_of(split.path) / DATABASE
        there = partial.stat().st_size if partial.is_file() else 0
        size = encoded_lmdb.estimated_bytes(split.found.index, form.max_side)
        needed += max(0, size - there)
    free = free_bytes(out)
    if free < needed:
        raise UserError(
            f"the databases take about {megabytes(needed)} more, {out} has "
            f"{megabytes(free)} free: make room, choose another folder with --out, or "
            "a smaller --max-side"
        )


def skipped_list(path: Path) -> Path:
    """Returns the file that lists what a database lacks, and why."""
    return path.with_name(f"{path.name.removesuffix('_lmdb')}_skipped.txt")


def summary(infos: Infos) -> list[str]:
    """Returns, for a person, what the databases hold; the first one's mean, too."""
    lines = []
    for path, info in infos.items():
        per_label = info["images_per_label"]
        classes = len(info["classes"]) if info["classes"] else len(per_label)
        fewest = min(per_label) if len(per_label) == classes else 0
        lines.append(
            f"{path}: {info['images']:,} images, {classes:,} classes of "
            f"{fewest:,} to {max(per_label):,}, {megabytes(info['bytes'])}"
        )
        changes = [f"{count:,} {change}" for change, count in info["changed"].items()]
        if changes:
            lines.append(f"  {', '.join(changes)}")
        if info["skipped"]:
            report = skipped_list(path)
            lines.append(f"  {info['skipped']:,} files skipped: {report} says why")
    path, info = next(iter(infos.items()))
    blue, green, red = info["mean"]
    mean = f"B {blue:.3f}, G {green:.3f}, R {red:.3f}"
    return [*lines, f"Mean pixel of {path.name}: {mean}"]


def _counter(title: str, total: int, already: int = 0) -> Counter:
    return Counter(
        total,
        "images",
        sys.stdout,
        line_interval=LINE_INTERVAL,
        title=title,
        already=already,
        keep_last=True,
    )
