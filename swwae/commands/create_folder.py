"""Makes the LMDBs that Caffe's Data layers read of image files of yours: train_lmdb,
test_lmdb and, where there are such, val_lmdb and unlabelled_lmdb.

The files are in a folder for each class, in such folders within train, val and test, or
in a CSV of file and label. All become square and of one size. Images that are to keep
their sizes are data/ilsvrc12/create.py's.
"""

from pathlib import Path

from swwae.base.arguments import at_least, number
from swwae.base.processes import cores
from swwae.commands import database_options
from swwae.datasets import image_folders, raw_databases, square_images
from swwae.datasets.database_folders import check_output_folder

NETWORKS = {(3, 32): "vgg8_32", (3, 96): "vgg10_96", (1, 32): "vgg8"}
"""Those that read images of so many channels and pixels."""


def main() -> None:
    parser = database_options.parser(
        __doc__,
        "a folder with a folder of images for each class; or with folders train, test,"
        " val and unlabelled of these; or a CSV: a file and its label in each line",
        "",
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="PATH",
        help="likewise, of the test images; a CSV where --source is one",
    )
    parser.add_argument(
        "--hold-out",
        type=number(lambda value: 0 < value < 1, "share between 0 and 1"),
        metavar="FRACTION",
        help="so many of each class's training images, drawn by --seed, are for tests",
    )
    parser.add_argument(
        "--side",
        type=at_least(1, 4096),
        default=square_images.DEFAULT_SIDE,
        metavar="N",
        help="pixels: the shorter edge becomes as long, of the other one the middle"
        " stays (default: %(default)s)",
    )
    parser.add_argument("--gray", action="store_true", help="store grey images")
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="what a CSV's paths are relative to (default: its folder)",
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1, 8 * cores()),
        default=cores(),
        metavar="N",
        help="processes that decode (default: one a core)",
    )
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out files that cannot be read, instead of ending",
    )
    options = database_options.parsed(parser)
    if options.check:
        infos, changed = raw_databases.check(options.out), False
        shape = next(iter(infos.values()))["shape"]
        form = square_images.Form(shape[1], shape[0])
    else:
        check_output_folder(options.out)
        form = square_images.Form(options.side, 1 if options.gray else 3)
        found = image_folders.with_hold_out(
            image_folders.find(options.source, options.test, options.root),
            options.hold_out,
            options.seed,
        )
        beside = sum(files.beside for files in found.sets.values())
        if beside:
            print(
                "files left out, being no images by their names"
                f" ({image_folders.SUFFIXES_TEXT}): {beside}"
            )
        infos, changed = raw_databases.create(
            options.out,
            {
                name: square_images.to_store(
                    found.sets[name], form, options.jobs, options.skip_unreadable
                )
                for name in raw_databases.NAMES
                if name in found.sets
            },
            classes=found.classes,
            seed=options.seed,
            force=options.force,
        )
    network = NETWORKS.get((form.channels, form.side))
    database_options.report(infos, network, changed=changed, checked=options.check)
