"""The options that say how the images of a state dict are normalised."""

import argparse

from swwae.exchange.importing import chosen_normalisation
from swwae.nets.deployed import Deployed
from swwae.nets.normalisation import TORCHVISION, Normalisation, numbers


def add_normalisation_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --mean, --std, --rgb and --bgr."""
    parser.add_argument(
        "--mean",
        type=numbers_of,
        metavar="R,G,B",
        help="of the state dict's images in [0, 1], in their channels' order (default:"
        f" torchvision's, {numbers(TORCHVISION.mean)})",
    )
    parser.add_argument(
        "--std",
        type=numbers_of,
        metavar="R,G,B",
        help=f"likewise (default: torchvision's, {numbers(TORCHVISION.std)})",
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument(
        "--rgb", action="store_true", help="the state dict reads RGB (the default)"
    )
    order.add_argument("--bgr", action="store_true", help="it reads BGR")


def any_normalisation_argument(options: argparse.Namespace) -> bool:
    """Tells whether one of these options was given."""
    return bool(options.mean or options.std or options.bgr or options.rgb)


def normalisation(options: argparse.Namespace, net: Deployed) -> Normalisation:
    """Returns what the options say of a network's images; UserError for what cannot
    be."""
    return chosen_normalisation(net, options.mean, options.std, options.bgr)


def numbers_of(text: str) -> tuple[float, ...]:
    """Reads --mean and --std: one number a channel, in the order of the channels."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: numbers separated by commas are expected, such as"
            f" {numbers(TORCHVISION.mean)}"
        ) from None
