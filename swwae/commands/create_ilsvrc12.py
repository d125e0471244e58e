"""Makes train_lmdb and val_lmdb, which Caffe's Data layers read, of ILSVRC 2012.

The sources are its archives as they are, or unpacked, or any images in a folder for
each class or in a Caffe list file. Images are stored shuffled, as JPEGs whose shorter
edge is at most --max-side. What is interrupted goes on with the same command.
"""

import argparse
import signal
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.base.processes import cores
from swwae.datasets import ilsvrc12, image_sources
from swwae.datasets.database_folders import (
    check_output_folder,
    make_output_folder,
    only_writer,
)
from swwae.datasets.encoded_records import Form
from swwae.datasets.jpegs import LARGEST_SIDE

JOBS_A_CORE = 8
"""At most, each with its memory; slow disks let them wait."""


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    if options.check:
        infos = ilsvrc12.check(options.out, options.jobs)
        end = "Every record was decoded: the databases are as they were written."
    else:
        infos, changed = _create(options)
        end = "Nothing to do: all was there already (--force makes it anew)."
        end = "" if changed else end
    print("\n".join(filter(None, [*ilsvrc12.summary(infos), end])))


def _create(options: argparse.Namespace) -> tuple[ilsvrc12.Infos, bool]:
    check_output_folder(options.out)
    sources = {
        name: image_sources.recognise(path, options.root, options.devkit)
        for name in ilsvrc12.SPLITS
        if (path := getattr(options, name))
    }
    make_output_folder(options.out)
    with only_writer(options.out):
        try:
            return ilsvrc12.create(
                sources,
                options.out,
                form=Form(options.max_side, options.quality, options.seed),
                jobs=options.jobs,
                strict=options.strict,
                force=options.force,
            )
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one
            goes_on = "without --force" if options.force else "to go on"
            print(f"\nEnded before its end: run the same command {goes_on}.")
            raise


def _arguments() -> argparse.Namespace:
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
        default=ilsvrc12.HOME,
        metavar="DIR",
        help="where train_lmdb and val_lmdb go (default: data/ilsvrc12)",
    )
    parser.add_argument(
        "--max-side",
        type=at_least(0, LARGEST_SIDE),
        default=ilsvrc12.DEFAULT_MAX_SIDE,
        metavar="N",
        help="pixels that the shorter edge has at most; 0: any number (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=at_least(1, 100),
        default=ilsvrc12.DEFAULT_QUALITY,
        metavar="N",
        help="of the JPEGs that are encoded anew, 1 to 100 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="seed of the shuffle (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1, JOBS_A_CORE * cores()),
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
    options = parser.parse_args()
    if not (options.check or options.train or options.val):
        parser.error("give --train, --val or both; or --check")
    return options
