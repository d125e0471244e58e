"""Makes train_lmdb and val_lmdb, which Caffe's Data layers read, of ILSVRC 2012.

The sources are its archives as they are, or unpacked, or any images in a folder for
each class or in a Caffe list file. Images are stored shuffled, as JPEGs whose shorter
edge is at most --max-side. What is interrupted goes on with the same command.
"""

import argparse
import json
import os
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.datasets import (
    creating,
    datum_lmdb,
    encoded_lmdb,
    image_sources,
    jpegs,
)
from swwae.datasets.datum_lmdb import megabytes
from swwae.datasets.encoded_lmdb import Form
from swwae.datasets.image_sources import Found, Source
from swwae.datasets.labelled_images import SHUFFLE
from swwae.datasets.workers import cores

HERE = ROOT / "data" / "ilsvrc12"


SPLITS = ("train", "val")


DEFAULT_MAX_SIDE = 512  # twice the crops' size: the paper's largest scale


DEFAULT_QUALITY = 95


LARGEST_SIDE = 2**16 - 1  # of a JPEG


JOBS_A_CORE = 8  # at most, each with its memory; slow disks let them wait


@dataclass
class Split:
    """One database to make. found: None until it is needed; info: where it is there."""

    name: str
    path: Path
    source: Source
    made_from: dict
    found: Found | None
    info: dict | None = None
    goes_on: bool = False

    @property
    def classes(self) -> tuple[str, ...] | None:
        return _classes(self.info) if self.info else self.found.classes

    @property
    def labels(self) -> int:
        """How many labels there are, from 0 to the largest."""
        if self.info:
            return len(self.info["images_per_label"])
        return int(self.found.index.labels.max()) + 1


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    if arguments.check:
        check(arguments.out, arguments.jobs)
        return
    creating.check_writable(arguments.out)
    sources = {
        name: image_sources.recognise(path, arguments.root, arguments.devkit)
        for name in SPLITS
        if (path := getattr(arguments, name))
    }
    creating.make_folder(arguments.out)
    with datum_lmdb.only_writer(arguments.out):
        try:
            make(sources, arguments)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one
            goes_on = "without --force" if arguments.force else "to go on"
            print(f"\nEnded before its end: run the same command {goes_on}.")
            raise


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--train",
        type=Path,
        metavar="SOURCE",
        help="ILSVRC2012_img_train.tar, a folder of n########.tar, a folder with a "
        "folder of images for each class (or a tar of that), or a Caffe list file: a "
        "path and a label in each line",
    )
    parser.add_argument(
        "--val",
        type=Path,
        metavar="SOURCE",
        help="likewise, or ILSVRC2012_img_val.tar or a folder of "
        "ILSVRC2012_val_########.JPEG: these need --devkit",
    )
    parser.add_argument(
        "--devkit",
        type=Path,
        metavar="PATH",
        help="ILSVRC2012_devkit_t12.tar.gz, or the folder unpacked from it",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="what paths in list files are relative to (default: the list's folder)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="where train_lmdb and val_lmdb go (default: the folder of this script)",
    )
    parser.add_argument(
        "--max-side",
        type=max_side,
        default=DEFAULT_MAX_SIDE,
        metavar="N",
        help="pixels that the shorter edge has at most; 0: any number (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=quality,
        default=DEFAULT_QUALITY,
        metavar="N",
        help="of the JPEGs that are encoded anew, 1 to 100 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=creating.natural_number,
        default=0,
        metavar="N",
        help="seed of the shuffle (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=number_of_jobs,
        default=cores(),
        metavar="N",
        help=f"processes that read and encode, at most {JOBS_A_CORE} a core (default: "
        "one a core)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="end at the first file that cannot be stored, instead of listing it in "
        "<split>_skipped.txt",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--force",
        action="store_true",
        help="make databases that exist, whole or in part, anew",
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="only read and decode the databases in --out, and compare them with their "
        "info.json",
    )
    arguments = parser.parse_args()
    if not (arguments.check or arguments.train or arguments.val):
        parser.error("give --train, --val or both; or --check")
    return arguments


def quality(text: str) -> int:
    """An argument's type: JPEG's 1 to 100."""
    number = creating.natural_number(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected 1 to 100, found {text}")
    return number


def max_side(text: str) -> int:
    """An argument's type: what a JPEG's sides can be, and 0."""
    number = creating.natural_number(text)
    if number > LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"expected 0 to {LARGEST_SIDE}, found {text}")
    return number


def number_of_jobs(text: str) -> int:
    """An argument's type: 1 to JOBS_A_CORE for each core."""
    number, most = creating.natural_number(text), JOBS_A_CORE * cores()
    if not 1 <= number <= most:
        raise argparse.ArgumentTypeError(f"expected 1 to {most}, found {text}")
    return number


def check(out: Path, jobs: int) -> None:
    """Read the databases in `out` back; raises UserError for the first fault."""
    paths = [path for name in SPLITS if os.path.lexists(path := out / f"{name}_lmdb")]
    if not paths:
        raise UserError(f"there is neither train_lmdb nor val_lmdb in {out}")
    infos = {path: datum_lmdb.read_info(path) for path in paths}
    for path, info in infos.items():
        print(f"Reading {path}: {info['images']:,} images, {jobs} jobs", flush=True)
        infos[path] = encoded_lmdb.check(
            path, jobs, creating.ImageProgress(f"{path.name}: checking")
        )
    print_summary(infos)
    print("Every record was decoded: the databases are as they were written.")


def make(sources: dict[str, Source], arguments: argparse.Namespace) -> None:
    """Make, or go on with, the databases of these sources, and say what they hold."""
    out = arguments.out
    form = Form(arguments.max_side, arguments.quality, arguments.seed)
    splits = [
        prepare(name, out / f"{name}_lmdb", source, form, arguments)
        for name, source in sources.items()
    ]
    check_agreement(splits, out)
    missing = [split for split in splits if split.info is None]
    for split in splits:
        announce(split, form, arguments.jobs)
    check_space(out, missing, form)
    for split in missing:
        split.info = encoded_lmdb.write(
            split.path,
            split.found,
            form,
            split.made_from,
            arguments.jobs,
            arguments.strict,
            skipped_list(split.path),
            creating.ImageProgress(split.path.name),
        )
    print_summary({split.path: split.info for split in splits})
    if not missing:
        print("Nothing to do: all was there already (--force makes it anew).")


def prepare(
    name: str, path: Path, source: Source, form: Form, arguments: argparse.Namespace
) -> Split:
    """Find out what is to be done for one database.

    Raises UserError where what is there, whole or in part, was made otherwise.
    """
    datum_lmdb.restore_old(path)
    datum_lmdb.check_replaceable(path)
    if arguments.force:
        shutil.rmtree(datum_lmdb.partial_of(path), ignore_errors=True)
    about = {"source": source.path.name, "kind": source.kind}
    found = None
    if source.kind in image_sources.TARS:
        about["tars"] = source.tar_stamps()
    else:
        found = find(source)
        about["images"] = len(found.index)
        about["sha256"] = found.index.sha256()
        about["skipped"] = len(found.skipped)
    made_from = {**about, **asdict(form), "shuffle": SHUFFLE}
    made_from = json.loads(json.dumps(made_from | {"encoder": jpegs.encoder()}))
    split = Split(name, path, source, made_from, found)

    partial = encoded_lmdb.partial_state(path)
    if partial is not None:
        partial_path = datum_lmdb.partial_of(path)
        check_made_alike(partial_path, partial.made_from, made_from, "goes on with")
        split.goes_on = True
        split.found = found or encoded_lmdb.partial_found(path, source.tars())
    elif os.path.lexists(path) and not arguments.force:
        try:
            split.info = datum_lmdb.read_info(path)
        except UserError as error:
            raise UserError(f"{error}: --force makes it anew") from error
        # Another version of the encoder is no reason to make it anew.
        made = split.info.get("made_from", {}) | {"encoder": made_from["encoder"]}
        check_made_alike(path, made, made_from, "keeps")
        if arguments.strict and split.info["skipped"]:
            raise UserError(
                f"{path} lacks {split.info['skipped']} files, which "
                f"{skipped_list(path)} lists: without --strict it stays as it is"
            )
        return split
    split.found = split.found or find(source)
    return split


def find(source: Source) -> Found:
    """Find the source's images, with progress."""
    print(f"Looking through {source.path} ({source.kind})", flush=True)
    progress = creating.ImageProgress(f"{source.path.name}: found")
    found = source.find(progress)
    progress.end()
    return found


def check_made_alike(path: Path, made: dict, wanted: dict, what: str) -> None:
    """Raise UserError where two accounts of what a database is made from differ."""
    for name, value in wanted.items():
        if made.get(name) == value:
            continue
        difference = (
            f"with {name.replace('_', '-')} {made.get(name)}, asked for is {value}"
            if name in (*Form.__dataclass_fields__, "shuffle", "encoder", "kind")
            else "from other files, or they have been changed"
        )
        raise UserError(
            f"{path} was made {difference}: --force makes it anew, --out chooses "
            f"another folder, the command that it was made with {what} it"
        )


def check_agreement(splits: list[Split], out: Path) -> None:
    """Raise UserError where the two databases do not number the same classes."""
    known = {split.name: (split.classes, split.labels) for split in splits}
    mend = "both must have the same classes, or labels would differ"
    for name in SPLITS:
        path = out / f"{name}_lmdb"
        if name in known or not os.path.lexists(path):
            continue
        try:
            info = datum_lmdb.read_info(path)
        except UserError:
            continue  # no database of ours
        known[name] = _classes(info), len(info["images_per_label"])
        mend = f"{path} is there already; give --{name}, too, and --force, or --out"
    if len(known) < len(SPLITS):
        return
    (train, train_labels), (val, val_labels) = (known[name] for name in SPLITS)
    if train is not None and val is not None:
        if train != val:
            only = sorted(set(train) ^ set(val))[0]
            side = "training" if only in train else "validation"
            raise UserError(
                f"the training images have {len(train)} classes, the validation images "
                f"{len(val)}, and {only} is in the {side} images alone: {mend}"
            )
        return
    train_count = train_labels if train is None else len(train)
    if val_labels > train_count or (val is not None and train_labels > len(val)):
        raise UserError(
            f"the training images have labels up to {train_labels - 1}, the validation "
            f"images up to {val_labels - 1}: {mend}"
        )


def _classes(info: dict) -> tuple[str, ...] | None:
    classes = info.get("classes")
    return None if classes is None else tuple(classes)


def announce(split: Split, form: Form, jobs: int) -> None:
    """Say what is about to be done for one database."""
    if split.info:
        print(f"{split.path}: is there already, made from the same")
        return
    index = split.found.index
    size = encoded_lmdb.estimated_bytes(index, form.max_side)
    verb = "goes on" if split.goes_on else "will be made"
    edge = f"shorter edge at most {form.max_side}" if form.max_side else "any size"
    classes = f"{split.labels:,} classes"
    if names := split.classes:
        classes = f"{len(names):,} classes ({names[0]!a} to {names[-1]!a})"
    print(
        f"{split.path}: {verb}: {len(index):,} images ({edge}) in {classes}, "
        f"about {megabytes(size)}, {jobs} jobs",
        flush=True,
    )
    if split.found.skipped:
        print(
            f"  {len(split.found.skipped):,} files beside them are no images to store"
        )


def check_space(out: Path, splits: list[Split], form: Form) -> None:
    """Raise UserError where what is to be written would not fit the disk."""
    needed = 0
    for split in splits:
        partial = datum_lmdb.partial_of(split.path) / datum_lmdb.DATABASE
        there = partial.stat().st_size if partial.is_file() else 0
        size = encoded_lmdb.estimated_bytes(split.found.index, form.max_side)
        needed += max(0, size - there)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise UserError(
            f"the databases take about {megabytes(needed)} more, {out} has "
            f"{megabytes(free)} free: make room, choose another folder with --out, or "
            "a smaller --max-side"
        )


def skipped_list(path: Path) -> Path:
    """The file that lists what a database lacks, and why."""
    return path.with_name(f"{path.name.removesuffix('_lmdb')}_skipped.txt")


def print_summary(infos: dict[Path, dict]) -> None:
    """Say, for a person, what the databases hold; the first one's mean, too."""
    for path, info in infos.items():
        per_label = info["images_per_label"]
        classes = len(info["classes"]) if info["classes"] else len(per_label)
        fewest = min(per_label) if len(per_label) == classes else 0
        print(
            f"{path}: {info['images']:,} images, {classes:,} classes of "
            f"{fewest:,} to {max(per_label):,}, {megabytes(info['bytes'])}"
        )
        changed = [f"{count:,} {change}" for change, count in info["changed"].items()]
        if changed:
            print(f"  {', '.join(changed)}")
        if info["skipped"]:
            print(f"  {info['skipped']:,} files skipped: {skipped_list(path)} says why")
    path, info = next(iter(infos.items()))
    blue, green, red = info["mean"]
    print(f"Mean pixel of {path.name}: B {blue:.3f}, G {green:.3f}, R {red:.3f}")
