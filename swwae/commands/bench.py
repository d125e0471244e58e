"""Times whole training steps of a network: forward, backward, update.

    tools/bench.py --net vgg8 --variant swwae-all --stage 4 --batch 64
    tools/bench.py --net vgg16 --variant swwae-all --stage 2 --batch 8,32 --threads 1,2

Compares Caffe's engines CAFFE (stock) and DNNL, and PyTorch where it is installed: the
same network with the same weights and images, in processes that take turns. Needs no
data. docs/performance.md says how to read the table.
"""

import argparse
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, require_file, write_json
from swwae.base.processes import cores
from swwae.base.project import relative
from swwae.base.tables import print_summary
from swwae.bench import table
from swwae.bench.contender import Contender
from swwae.bench.record import comparison_record
from swwae.bench.rounds import measure
from swwae.bench.setup import SIDES, Comparison, prepare
from swwae.bench.verdict import faults
from swwae.runs.run import Run
from swwae.stages.sources import require_network

DISAGREE = 1
"""The exit code where results or losses are not to be trusted."""

MOST_THREADS = 1024


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers, too
    if options.json:
        check_writable(options.json)
    run = Run(options.net, options.variant, options.stage, options.depth)
    net = require_network(run, run.network)
    require_file(run.solver, "solver", run.generator_command)
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        comparison = prepare(
            run,
            net,
            folder,
            batches=options.batch,
            threads=options.threads,
            engines=options.engines,
            initial_weights=options.weights,
            seed=options.seed,
        )
        _print_plan(run, comparison, options)
        if options.dry_run:
            return 0
        measure(
            comparison.contenders,
            comparison.outputs,
            folder,
            rounds=options.rounds,
            seconds=options.seconds,
            layers=options.layers,
            progress=to_stderr,
        )
    print(f"\n{table.report(comparison.contenders, comparison.costs)}")
    if options.json:
        content = comparison_record(
            run,
            comparison,
            weights=options.weights,
            seed=options.seed,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        write_json(options.json, content)
    return _judge(comparison.contenders)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--net", default="vgg8", help="default: %(default)s")
    parser.add_argument("--variant", default="swwae-all", help="default: %(default)s")
    parser.add_argument(
        "--stage",
        type=int,
        choices=(0, 2, 3, 4),
        default=4,
        help="whose network and solver it is (default: %(default)s)",
    )
    parser.add_argument(
        "--depth", type=int, metavar="N", help="decode from macro-layer N"
    )
    parser.add_argument(
        "--batch",
        type=_list(at_least(1)),
        metavar="N,...",
        help="images a step (default: the network file's)",
    )
    parser.add_argument(
        "--threads",
        type=_list(at_least(1, MOST_THREADS)),
        default=[cores()],
        metavar="N,...",
        help="default: one a core",
    )
    parser.add_argument(
        "--engines",
        type=_engines,
        default=list(SIDES),
        metavar="NAME,...",
        help=f"of {', '.join(SIDES)}; caffe is always among them (default: all)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .caffemodel to begin with (default: what the fillers give)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=1,
        metavar="N",
        help="of pixels and labels (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=at_least(1),
        default=5,
        metavar="N",
        help="in each of which everyone has a turn (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=number(lambda x: 0 < x <= 3600, "number of seconds from 0 to 3600"),
        default=2.0,
        metavar="S",
        help="a turn's length, one step at least (default: %(default)g)",
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="also where Caffe's time goes, by types of layers",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and stop"
    )
    return parser


def _list(one):
    def parse(text: str) -> list[int]:
        return list(dict.fromkeys(one(part) for part in text.split(",")))

    return parse


def _engines(text: str) -> list[str]:
    named = text.split(",")
    for name in named:
        if name not in SIDES:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(SIDES)}")
    return [name for name in SIDES if name == "caffe" or name in named]


def _print_plan(run: Run, comparison: Comparison, options: argparse.Namespace) -> None:
    """Says what will be done, before it is."""
    timed = [one for one in comparison.contenders if not one.refused]
    takes = len(timed) * options.rounds * options.seconds
    fillers = "of the network's fillers"
    operations = [
        (
            f"batch {batch}",
            f"{cost.total / 1e9:.4g} GFLOP a step: {cost.forward / 1e9:.4g} forward,"
            f" {cost.data / 1e9:.4g} for gradients of data,"
            f" {cost.weights / 1e9:.4g} of weights",
        )
        for batch, cost in comparison.costs.items()
    ]
    print_summary(
        f"{run.title}: training steps, {options.rounds} rounds of"
        f" {options.seconds:g} s each, {takes:.0f} s at least",
        [
            ("network", relative(run.network)),
            ("weights", relative(options.weights) if options.weights else fillers),
            *operations,
            ("threads", ", ".join(map(str, options.threads))),
            ("sides", "; ".join(dict.fromkeys(one.name for one in timed))),
        ],
    )


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _judge(contenders: list[Contender]) -> int:
    """Says whose results or losses are not to be trusted; returns the exit code."""
    sentences = faults(contenders)
    for sentence in sentences:
        to_stderr(f"bench.py: {sentence}")
    return DISAGREE if sentences else 0
