"""Compares a card's losses and gradients with the CPU's, variant by variant.

    tools/compare_gradients.py --gpu 0 --net vgg8
    tools/compare_gradients.py --gpu 0 --net vgg16 --variant swwae-all --math fp32

Both get the same weights (of the fillers), images and pooling switches; dropout and
noise are left out. The CPU computes with the stock engine. Exits with 1 where a
difference is larger than its bound. docs/performance.md says more.
"""

import argparse
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from generator import recipe, variant_names
from generator.variants import find_variant
from swwae.base.arguments import at_least, gpu_number, names_of
from swwae.base.files import check_writable, write_json
from swwae.base.processes import cores
from swwae.base.program import FAILED
from swwae.base.project import CAFFE
from swwae.base.settings import require_settings
from swwae.bench.gradients import PARTS, Outcome, compare_gradients
from swwae.bench.maths import MATHS
from swwae.engine import devices
from swwae.runs.run import Run

PROGRAM = "compare_gradients.py"
OURS = [name for name, math in MATHS.items() if math.ours]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers, too
    if options.json:
        check_writable(options.json)
    require_settings()
    devices.require(
        CAFFE,
        str(options.gpu),
        f"--gpu {options.gpu}",
        mend="this compares a card with the CPU, and needs one",
    )
    stage = recipe.STAGES[options.stage]
    having = [name for name in variant_names() if stage.has(find_variant(name))]
    runs = dict.fromkeys(  # several variants may share one
        Run(options.net, variant, options.stage)
        for variant in options.variant or having
    )
    found = []
    for outcome in compare_gradients(
        list(runs),
        options.math,
        gpu=options.gpu,
        images=options.batch,
        threads=cores(),
        seed=options.seed,
        progress=partial(print, file=sys.stderr, flush=True),
    ):
        print(_line(outcome), flush=True)
        found.append(outcome)
    if options.json:
        write_json(options.json, [_record(outcome) for outcome in found])
    return 0 if all(outcome.holds for outcome in found) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--net", default="vgg8", help="default: %(default)s")
    parser.add_argument(
        "--variant",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help="default: all that have the stage",
    )
    parser.add_argument(
        "--stage",
        type=int,
        choices=(2, 3, 4),
        default=4,
        help="whose network it is (default: %(default)s)",
    )
    parser.add_argument(
        "--gpu", type=gpu_number, default=0, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--math",
        type=names_of(OURS),
        default=OURS,
        metavar="NAME,...",
        help=f"of {', '.join(OURS)} (default: all)",
    )
    parser.add_argument(
        "--batch",
        type=at_least(1),
        metavar="N",
        help="images (default: the network's batch, 64 at most; of images larger than"
        " 64x64, 4)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=1,
        metavar="N",
        help="of pixels and labels (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    return parser


def _line(outcome: Outcome) -> str:
    """Returns a line on an outcome: how far, in which blob or layer, and the bound."""
    parts = [
        f"{part} {outcome.differences[part].l2:.1e} ({outcome.differences[part].l2_of})"
        for part in PARTS
    ]
    verdict = "within" if outcome.holds else "BEYOND"
    bound = MATHS[outcome.math].bound
    return (
        f"{outcome.run.title}, {outcome.math}: {', '.join(parts)}: {verdict} {bound:g}"
    )


def _record(outcome: Outcome) -> dict:
    return {
        "net": outcome.run.net,
        "variant": outcome.run.variant,
        "stage": outcome.run.stage,
        "math": outcome.math,
        "bound": MATHS[outcome.math].bound,
        "holds": outcome.holds,
        "differences": {
            part: asdict(difference) for part, difference in outcome.differences.items()
        },
    }
