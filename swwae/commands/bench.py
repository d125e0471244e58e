"""Times whole training steps of a network: forward, backward, update.

    tools/bench.py --net vgg8 --variant swwae-all --stage 4 --batch 64
    tools/bench.py --net vgg16 --variant swwae-all --stage 2 --batch 8,32 --threads 1,2

Compares Caffe's engines CAFFE (stock) and DNNL, and PyTorch where it is installed: the
same network with the same weights and images, in processes that take turns. Needs no
data. docs/performance.md says how to read the table.
"""

import argparse
import importlib.metadata
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from caffe.proto import caffe_pb2

from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, require_file, whole_file
from swwae.base.project import CAFFE, relative
from swwae.base.provenance import host, versions
from swwae.base.tables import print_summary
from swwae.bench import rounds, table
from swwae.bench.network import Cost
from swwae.bench.rounds import Contender, Rounds, to_stderr
from swwae.bench.setup import SIDES, has_torch, prepare
from swwae.runs.run import Run
from swwae.stages.sources import require_network

BOUND = 1e-3
"""The largest relative difference (Euclidean norms) that counts as the same result.
Where CAFFE's own results change more with disturbed weights, so much counts: a single
switch that falls the other way changes a gradient by more."""


DISAGREE = 1


MOST_THREADS = 1024


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers, too
    if options.json:
        check_writable(options.json)
    stage = Run(options.net, options.variant, options.stage, options.depth)
    net = require_network(stage, stage.network)
    require_file(stage.solver, "solver", stage.generator_command)
    with TemporaryDirectory(prefix="bench-") as folder:
        return _measure(stage, net, options, Path(folder))


def _measure(
    stage: Run,
    net: caffe_pb2.NetParameter,
    options: argparse.Namespace,
    folder: Path,
) -> int:
    costs, contenders, outputs = prepare(stage, net, options, folder)
    settings = list(dict.fromkeys(each.setting for each in contenders))
    announce(stage, options, costs, contenders)
    if options.dry_run:
        return 0
    for setting in settings:
        to_stderr("comparing results: " + _words(setting))
        rounds.compare(
            [c for c in contenders if c.setting == setting and not c.refused],
            outputs,
            folder,
        )
    taking_turns = Rounds(contenders, to_stderr)
    try:
        taking_turns.warm_up(options.seconds)
        for number_of in range(options.rounds):
            to_stderr(f"round {number_of + 1} of {options.rounds}")
            taking_turns.round(number_of)
        if options.layers:
            taking_turns.layers()
    finally:
        taking_turns.close()
    for setting in settings:
        own = [c for c in contenders if c.setting == setting]
        print(f"\n{_words(setting)}\n{table.figures(own, costs[setting[0]])}")
        if by_layers := table.layers(own):
            print(f"\n{by_layers}")
        if bandwidth := table.bandwidth(own):
            print(f"\n{bandwidth}")
    if growth := table.growth(contenders):
        print(f"\n{growth}")
    print(f"\n{table.FOOT}")
    if options.json:
        content = as_json(stage, options, costs, contenders)
        with whole_file(options.json, "w") as file:
            json.dump(content, file, indent=2, allow_nan=False)
            file.write("\n")
    return _judge(contenders)


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
        default=[len(os.sched_getaffinity(0))],
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


def _words(setting: tuple[int, int]) -> str:
    batch, threads = setting
    return f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}"


# --- what is said


def announce(
    stage: Run,
    options: argparse.Namespace,
    costs: dict[int, Cost],
    contenders: list[Contender],
) -> None:
    """What will be done, before it is."""
    timed = [each for each in contenders if not each.refused]
    takes = len(timed) * options.rounds * options.seconds
    fillers = "of the network's fillers"
    operations = [
        (
            f"batch {batch}",
            f"{cost.total / 1e9:.4g} GFLOP a step: {cost.forward / 1e9:.4g} forward,"
            f" {cost.data / 1e9:.4g} for gradients of data,"
            f" {cost.weights / 1e9:.4g} of weights",
        )
        for batch, cost in costs.items()
    ]
    print_summary(
        f"{stage.title}: training steps, {options.rounds} rounds of"
        f" {options.seconds:g} s each, {takes:.0f} s at least",
        [
            ("network", relative(stage.network)),
            ("weights", relative(options.weights) if options.weights else fillers),
            *operations,
            ("threads", ", ".join(map(str, options.threads))),
            ("sides", "; ".join(dict.fromkeys(each.name for each in timed))),
        ],
    )


def as_json(
    stage: Run,
    options: argparse.Namespace,
    costs: dict[int, Cost],
    contenders: list[Contender],
) -> dict:
    """All that was found; null where there is no such number."""
    made_with = versions(CAFFE)
    if has_torch():
        made_with["torch"] = importlib.metadata.version("torch")
    return {
        "net": stage.net,
        "variant": stage.variant,
        "stage": stage.stage,
        "network": relative(stage.network),
        "weights": relative(options.weights) if options.weights else None,
        "seed": options.seed,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "bound": BOUND,
        "host": host(),
        "versions": made_with,
        "operations": {
            str(batch): asdict(cost) | {"total": cost.total}
            for batch, cost in costs.items()
        },
        "contenders": [
            table.as_json(each, contenders, costs[each.batch]) for each in contenders
        ],
    }


def _judge(contenders: list[Contender]) -> int:
    """Says of whom results or losses are not to be trusted; the exit code."""
    code = 0
    own = {c.setting: c.differences for c in contenders if c.name == table.REFERENCE}
    for each in contenders:
        for part, found in each.differences.items():
            bound = max(BOUND, own[each.setting][part].l2)
            if found.l2 > bound and each.name != table.REFERENCE:
                to_stderr(
                    f"bench.py: {each.title}: {part} of {found.l2_of} differ from"
                    f" CAFFE's by {found.l2:.2g}, more than {bound:.2g}: that is"
                    " another result, and its time says nothing."
                )
                code = DISAGREE
        if not each.finite:
            to_stderr(
                f"bench.py: {each.title}: the loss is not finite after these steps;"
                " give weights that work with --weights FILE."
            )
            code = DISAGREE
    return code
