"""What the commands that make databases of raw images have in common."""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.datasets import raw_databases
from swwae.datasets.raw_databases import Infos

CHECKED = "Every record was read: the databases are as they were written."
UNCHANGED = "All were there already: nothing to do (--force makes them anew)."


def parser(description: str, source_help: str, out: str) -> argparse.ArgumentParser:
    """Returns a parser with the options that all of them have.

    out: where databases go without --out, for a person; "" where it must be given.
    """
    made = argparse.ArgumentParser(description=description.replace("\n\n", " "))
    made.add_argument("--source", type=Path, metavar="PATH", help=source_help)
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        required=not out,
        help="where the databases go" + (f" (default: {out})" if out else ""),
    )
    made.add_argument(
        "--seed",
        type=at_least(0),
        default=raw_databases.DEFAULT_SEED,
        metavar="N",
        help="seed of the shuffle (default: %(default)s)",
    )
    add_actions(made)
    return made


def add_actions(made: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --force and --check; returns the group, of which one may be given."""
    action = made.add_mutually_exclusive_group()
    action.add_argument(
        "--force", action="store_true", help="make databases that exist anew"
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="only read the databases back and compare them with their info.json",
    )
    return action


def add_subset(made: argparse.ArgumentParser) -> None:
    """Adds --subset."""
    made.add_argument(
        "--subset",
        action="store_true",
        help="the files may hold fewer images than those that are published",
    )


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Returns the options; one of --source and --check must be there."""
    options = made.parse_args()
    if not (options.check or options.source):
        made.error("give --source PATH; or --check")
    return options


def report(infos: Infos, network: str | None, *, changed: bool, checked: bool) -> None:
    """Prints what the databases hold, and how it went.

    network: as in `raw_databases.summary`.
    """
    end = CHECKED if checked else "" if changed else UNCHANGED
    lines = [*raw_databases.summary(infos, network), end]
    print("\n".join(filter(None, lines)))
