"""Options that several commands share."""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.base.processes import cores
from swwae.stages.request import DEFAULT_SEED


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose a network and its weights."""
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="decode from macro-layer N (default: the last convolutional one)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .caffemodel (default: what the variant's last stage left)",
    )


def add_tuning_arguments(parser: argparse.ArgumentParser, weights: str) -> None:
    """Adds --net, --weights, --seed and --json, which every program has that finds
    figures by trial. weights: what --weights is for."""
    parser.add_argument("--net", default="vgg16", help="default: %(default)s")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=weights)
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=DEFAULT_SEED,
        metavar="N",
        help="of Caffe's random numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all that was found"
    )


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --jobs, which every program has that runs others in a schedule."""
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=cores(),
        metavar="N",
        help="commands at a time, of one thread each (default: one a core)",
    )
