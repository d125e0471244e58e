"""A trained network, ready to classify and to reconstruct."""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.stages.request import DEFAULT_SEED


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that choose a Model."""
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


def add_arguments(parser: argparse.ArgumentParser, weights: str) -> None:
    """--net, --weights, --seed and --json, which every program that finds something
    has; weights: what --weights is for."""
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
