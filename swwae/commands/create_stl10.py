"""Makes the LMDBs of STL-10 that Caffe's Data layers read: train_lmdb, test_lmdb, and
unlabelled_lmdb with the images without labels, which have the label -1.

The folds of the training set are passed over.
"""

from swwae.commands import database_options
from swwae.datasets import raw_databases, stl10
from swwae.datasets.database_folders import check_output_folder, nearest_existing
from swwae.datasets.raw_databases import of_arrays


def main() -> None:
    parser = database_options.parser(
        __doc__, f"{stl10.ARCHIVE}, or the folder unpacked from it", "data/stl10"
    )
    parser.add_argument(
        "--no-unlabelled",
        action="store_true",
        help="leave the images without labels out",
    )
    database_options.add_subset(parser)
    options = database_options.parsed(parser)
    out = options.out or stl10.HOME
    if options.check:
        infos, changed = raw_databases.check(out), False
    else:
        check_output_folder(out)
        data = stl10.read(
            options.source,
            nearest_existing(out),
            unlabelled=not options.no_unlabelled,
            subset=options.subset,
        )
        infos, changed = raw_databases.create(
            out,
            {name: of_arrays(images) for name, images in data.sets.items()},
            classes=data.classes,
            seed=options.seed,
            force=options.force,
        )
    database_options.report(
        infos, stl10.NETWORK, changed=changed, checked=options.check
    )
