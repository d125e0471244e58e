"""Makes train_lmdb and test_lmdb, which Caffe's Data layers read, of CIFAR-10 or -100.

Which of the two it is, and whether it is the binary or the Python version, is told by
the files.
"""

from swwae.commands import database_options
from swwae.datasets import cifar, raw_databases
from swwae.datasets.database_folders import check_output_folder, nearest_existing
from swwae.datasets.raw_databases import of_arrays


def main() -> None:
    parser = database_options.parser(
        __doc__,
        f"{cifar.ARCHIVES}, or the folder unpacked from it",
        "data/cifar10 or data/cifar100",
    )
    parser.add_argument(
        "--coarse",
        action="store_true",
        help="CIFAR-100's 20 superclasses are the classes",
    )
    database_options.add_subset(parser)
    options = database_options.parsed(parser)
    if options.check:
        out = options.out or cifar.versions(coarse=False)[0].home
        infos, changed = raw_databases.check(out), False
    else:
        check_output_folder(options.out or cifar.HOME)
        data = cifar.read(
            options.source,
            nearest_existing(options.out or cifar.HOME),
            coarse=options.coarse,
            subset=options.subset,
        )
        infos, changed = raw_databases.create(
            options.out or data.version.home,
            {
                name: of_arrays(images, labels=data.version.labels)
                for name, images in data.sets.items()
            },
            classes=data.classes,
            seed=options.seed,
            force=options.force,
        )
    database_options.report(
        infos, cifar.NETWORK, changed=changed, checked=options.check
    )
