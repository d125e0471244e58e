"""Makes train_lmdb and test_lmdb, which Caffe's Data layers read, of SVHN's digits.

These are the cropped ones, format 2. The extra images can be training images, or images
without labels (unlabelled_lmdb).
"""

from swwae.commands import database_options
from swwae.datasets import raw_databases, svhn
from swwae.datasets.database_folders import check_output_folder, nearest_existing
from swwae.datasets.raw_databases import of_arrays


def main() -> None:
    parser = database_options.parser(
        __doc__, f"{svhn.ARCHIVE}, and extra_32x32.mat for --extra", "data/svhn"
    )
    parser.add_argument(
        "--extra",
        choices=svhn.EXTRA,
        help="the extra images are training images, too; or they and the training"
        " images are stored a second time, without labels",
    )
    database_options.add_subset(parser)
    options = database_options.parsed(parser)
    out = options.out or svhn.HOME
    if options.check:
        infos, changed = raw_databases.check(out), False
    else:
        check_output_folder(out)
        sets = svhn.read(
            options.source,
            nearest_existing(out),
            extra=options.extra,
            subset=options.subset,
        )
        infos, changed = raw_databases.create(
            out,
            {name: of_arrays(images) for name, images in sets.items()},
            classes=svhn.CLASSES,
            seed=options.seed,
            force=options.force,
        )
    database_options.report(infos, svhn.NETWORK, changed=changed, checked=options.check)
