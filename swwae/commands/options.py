"""Options that several commands share."""

import argparse
from pathlib import Path

from swwae.base.arguments import at_least, gpu_list, gpu_number
from swwae.base.processes import cores
from swwae.base.project import CAFFE
from swwae.engine import devices
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


def add_gpu_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --gpu N, of what computes on one device; see `chosen_gpu`."""
    parser.add_argument(
        "--gpu",
        type=gpu_number,
        metavar="N",
        help="a GPU's number (default: the first GPU, the CPU where there is none)",
    )


def chosen_gpu(number: int | None) -> tuple[int | None, str]:
    """Returns what --gpu chose: a GPU's number, None for the CPU, and it in words.

    Raises UserError where it is not there or cannot be used.
    """
    gpus, device = devices.choose(CAFFE, None if number is None else str(number))
    return gpus[0] if gpus else None, device


def add_gpus_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds --gpu LIST|all, of what runs several processes. what: each GPU is for."""
    parser.add_argument(
        "--gpu",
        type=gpu_list,
        metavar="LIST|all",
        help=f"such as 0 or 0,1, one for each {what} in turn (default: the first GPU,"
        " the CPU where there is none)",
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
