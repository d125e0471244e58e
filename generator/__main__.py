"""python -m generator NET --variant VARIANT: networks and solvers, rendered."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from . import ladder, names
from .chain import GROUPS
from .errors import UserError
from .generation import describe, draw_to, generate
from .request import Request
from .small_networks import BUILT_IN
from .summary import file_list, listing, summary
from .variants import VARIANTS


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code. A reader that has gone away ends it silently."""
    try:
        try:
            code = command(arguments)
        except SystemExit:  # argparse, which passes over a full disk
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = error.filename or "the output cannot be written"
        print(f"generator: {what}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngenerator: interrupted; files come all or none", file=sys.stderr)
        return 130
    return code


def command(arguments: list[str] | None) -> int:
    """Does what the command line asks for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(listing())
        return 0
    if options.net is None:
        parser.error("which network? `python -m generator --list` shows them")
    request = Request(**{f.name: getattr(options, f.name) for f in fields(Request)})
    try:
        if options.describe:
            print(describe(request))
        if options.draw:
            print(draw_to(request, options.draw))
        if not (options.describe or options.draw):
            _generate(request, options.out)
    except UserError as error:
        print(f"generator: {error}", file=sys.stderr)
        return 2
    return 0


def _generate(request: Request, out: Path | None) -> None:
    """Writes the files, and tells what they are."""
    done = generate(request, out)
    print(summary(done.network, done.shown, done.depth))
    print(file_list(done.plans, done.out))
    if request.variant == "all" and (problem := ladder.obstacle(done.network)):
        print(f"no ladder: {done.network.name} can have none, as {problem}")
    if done.network.training is None:
        print("no solvers: no data layer of the file reads a data set to train with")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator",
        description="Renders a classification network augmented with a mirrored"
        " decoder (Zhang, Lee & Lee, ICML 2016), and the solver of each training"
        " stage, as Caffe prototxts.",
        epilog="Examples: python -m generator vgg16 --variant swwae-all;"
        " python -m generator my/train_val.prototxt --describe",
    )
    parser.add_argument(
        "net",
        metavar="NET",
        nargs="?",
        help=f"{', '.join(BUILT_IN)}, or the file of a Caffe network of your own",
    )
    parser.add_argument(
        "--variant",
        default="all",
        help=f"{', '.join(VARIANTS)}, or all of them (the default)",
    )
    parser.add_argument(
        "--depth",
        metavar="N",
        help="decode from macro-layer N (default: the last convolutional one), or all",
    )
    parser.add_argument(
        "--batch-norm",
        action="store_true",
        help="the ladder normalises, as in Rasmus et al. 2015; for networks that do",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where models/ and solvers/ go (default: the project's folder)",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the two LMDBs of a built-in network (see --list)",
    )
    parser.add_argument(
        "--mean-value",
        metavar="B,G,R",
        help="what is subtracted from the pixels (0 to 255) of a built-in network,"
        " one number a channel",
    )
    parser.add_argument(
        "--images",
        metavar="TRAIN,TEST",
        help="how many images a built-in network trains with, and is tested on",
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="how many classes a built-in network scores",
    )
    parser.add_argument(
        "--name",
        help="of the network's folders (default: its own, or the one in the file)",
    )
    parser.add_argument(
        "--epochs",
        metavar="STAGE=N,…",
        help="how long stages are, such as 0=10,4=2; the learning rate's steps move"
        " along",
    )
    parser.add_argument(
        "--base-lr",
        default="",
        metavar="STAGE=X,…",
        help="the solvers' base_lr, such as 2=2.5e-5,4=0.001; stage 2's decoders keep"
        " their multiples of it",
    )
    parser.add_argument(
        "--labels",
        type=int,
        metavar="N",
        help="train a built-in network with the labels of N images, and reconstruct all"
        " (data/few_labels.py makes the LMDBs)",
    )
    parser.add_argument(
        "--labels-seed",
        type=int,
        metavar="N",
        help="by which those images were drawn (default: 1)",
    )
    parser.add_argument(
        "--with",
        dest="also",
        default="",
        metavar="KIND,…",
        help="networks beside those that training and deployment need:"
        f" {', '.join(names.ON_REQUEST)}, or both",
    )
    shown = parser.add_argument_group("instead of files")
    shown.add_argument(
        "--list", action="store_true", help="show networks and variants, and stop"
    )
    shown.add_argument(
        "--describe",
        action="store_true",
        help="a table of the network: shapes, parameters, multiply-adds, memory",
    )
    shown.add_argument(
        "--draw",
        type=Path,
        metavar="FILE.svg",
        help="a picture of the network, as the paper's Figures 1 and 2",
    )
    own = parser.add_argument_group("a network of your own")
    own.add_argument(
        "--image",
        metavar="CxHxW",
        help="the shape of an image, where neither file nor data tell",
    )
    own.add_argument(
        "--group",
        choices=GROUPS,
        default=GROUPS[0],
        help="a macro-layer ends behind a pooling (default) or every convolution",
    )
    own.add_argument(
        "--solver", type=Path, metavar="FILE", help="by which you train it: stage 0"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
