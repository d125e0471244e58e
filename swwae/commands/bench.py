"""Times whole training steps of a network: forward, backward, update.

    tools/bench.py --net vgg8 --variant swwae-all --stage 4 --batch 64
    tools/bench.py --net vgg16 --variant swwae-all --stage 2 --batch 8,32 --threads 1,2

Compares Caffe's engines CAFFE (stock) and DNNL, and PyTorch where it is installed: the
same network with the same weights and images, in processes that take turns. Needs no
data. With --gpu: Caffe with cuDNN, and PyTorch, on that card.

    tools/bench.py --gpu 0 --net vgg16 --batch 64 --math fp32,tf32 --layers
    tools/bench.py --gpu 0 --engines caffe,torch --torch-python /opt/torch/bin/python3

docs/performance.md says how to read the table.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from caffe.proto import caffe_pb2

from swwae.base.arguments import at_least, gpu_number, names_of, number, program
from swwae.base.files import check_writable, require_file, write_json
from swwae.base.processes import cores
from swwae.base.project import CAFFE, relative
from swwae.base.settings import require_settings
from swwae.base.tables import print_summary
from swwae.bench import busy, gpu_table, table
from swwae.bench.contender import Contender
from swwae.bench.gpu_rounds import measure_on_gpu
from swwae.bench.gpu_setup import (
    GPU_ENGINES,
    LAYOUTS,
    GpuComparison,
    prepare_on_gpu,
    sides,
)
from swwae.bench.maths import MATHS
from swwae.bench.record import comparison_record, gpu_record
from swwae.bench.rounds import measure
from swwae.bench.setup import SIDES, Comparison, prepare
from swwae.bench.verdict import faults, faults_on_gpu
from swwae.engine import devices
from swwae.runs.run import Run
from swwae.stages.sources import require_network

DISAGREE = 1
"""The exit code where results or losses are not to be trusted."""

MOST_THREADS = 1024


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    _settle(parser, options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers, too
    if options.json:
        check_writable(options.json)
    require_settings()
    run = Run(options.net, options.variant, options.stage, options.depth)
    net = require_network(run, run.network)
    require_file(run.solver, "solver", run.generator_command)
    if options.gpu is not None:
        devices.choose(CAFFE, str(options.gpu))
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if options.gpu is not None:
            return _on_gpu(run, net, folder, options, arguments)
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
    _say_busy(comparison.contenders)
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


def _on_gpu(
    run: Run,
    net: caffe_pb2.NetParameter,
    folder: Path,
    options: argparse.Namespace,
    arguments: list[str] | None,
) -> int:
    """Does what is asked for on a card; returns the exit code."""
    comparison = prepare_on_gpu(
        run,
        net,
        folder,
        gpu=options.gpu,
        batches=options.batch,
        compare_batch=options.compare_batch,
        threads=options.threads[0],
        engines=options.engines,
        maths=options.math,
        layouts=options.layout,
        torch_python=options.torch_python,
        initial_weights=options.weights,
        seed=options.seed,
    )
    _print_plan(run, comparison, options)
    if options.dry_run:
        return 0
    described = measure_on_gpu(
        comparison,
        folder,
        maths=options.math,
        rounds=options.rounds,
        seconds=options.seconds,
        layers=options.layers,
        progress=to_stderr,
    )
    print(f"\n{gpu_table.report(comparison, described)}")
    _say_busy(comparison.contenders)
    if options.json:
        typed = sys.argv[1:] if arguments is None else arguments
        content = gpu_record(
            run,
            comparison,
            described,
            command=shlex.join(["tools/bench.py", *typed]),
            weights=options.weights,
            seed=options.seed,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        write_json(options.json, content)
    return _say(faults_on_gpu(comparison.contenders))


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
        help="of the CPU (default: one a core)",
    )
    parser.add_argument(
        "--engines",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help=f"of {', '.join(SIDES)}; caffe is always among them; with --gpu: of"
        f" {', '.join(GPU_ENGINES)} (default: all)",
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
    card = parser.add_argument_group("on a card")
    card.add_argument("--gpu", type=gpu_number, metavar="N", help="the card's number")
    card.add_argument(
        "--math",
        type=names_of(MATHS),
        metavar="NAME,...",
        help=f"of {', '.join(MATHS)} (default: all; Caffe's sides: those it has)",
    )
    card.add_argument(
        "--layout",
        type=names_of(LAYOUTS),
        metavar="NAME,...",
        help=f"of PyTorch's images: of {', '.join(LAYOUTS)} (default: both, but for"
        " fp32 in nhwc, for which PyTorch searches kernels for minutes)",
    )
    card.add_argument(
        "--torch-python",
        type=program,
        metavar="FILE",
        help="the Python that has PyTorch (default: the project's own)",
    )
    card.add_argument(
        "--compare-batch",
        type=at_least(0),
        metavar="N",
        help="images whose results are compared with the CPU's; 0: none are (default:"
        " the batch size, 64 at most; of images larger than 64x64, 4)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and stop"
    )
    return parser


def _list(one):
    def parse(text: str) -> list[int]:
        return list(dict.fromkeys(one(part) for part in text.split(",")))

    return parse


def _settle(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Fills in what depends on other options, and ends where these do not agree."""
    on_gpu = options.gpu is not None
    known = GPU_ENGINES if on_gpu else tuple(SIDES)
    try:
        named = names_of(known)(",".join(options.engines or known))
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --engines: {error}")
    options.engines = [name for name in known if name in named]
    if not on_gpu and "caffe" not in named:
        options.engines.insert(0, "caffe")
    for name in ("math", "layout", "torch_python", "compare_batch"):
        if not on_gpu and getattr(options, name) is not None:
            parser.error(f"--{name.replace('_', '-')} needs --gpu N")
    if on_gpu and len(options.threads) > 1:
        parser.error("--gpu takes one number of --threads")
    options.math = options.math or list(MATHS)
    if on_gpu and not sides(options.engines, options.math, options.layout):
        ours = " and ".join(name for name, math in MATHS.items() if math.ours)
        asked = ",".join(options.math)
        parser.error(
            f"--math {asked}: Caffe computes in {ours}; --engines has no other"
        )


def _print_plan(
    run: Run,
    comparison: Comparison | GpuComparison,
    options: argparse.Namespace,
) -> None:
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
    if isinstance(comparison, GpuComparison):
        where = [("GPU", f"{comparison.gpu}"), ("compared", _compared(comparison))]
    else:
        where = [("threads", ", ".join(map(str, options.threads)))]
    left_out: dict[str, list[str]] = {}
    for one in comparison.contenders:
        if one.refused:
            left_out.setdefault(one.refused, []).append(one.name)
    print_summary(
        f"{run.title}: training steps, {options.rounds} rounds of"
        f" {options.seconds:g} s each, {takes:.0f} s at least",
        [
            ("network", relative(run.network)),
            ("weights", relative(options.weights) if options.weights else fillers),
            *operations,
            *where,
            ("sides", "; ".join(dict.fromkeys(one.name for one in timed))),
            *(
                ("without", f"{'; '.join(dict.fromkeys(names))}: {why}")
                for why, names in left_out.items()
            ),
        ],
    )


def _compared(comparison: GpuComparison) -> str:
    if comparison.reference is None:
        return "nothing"
    return f"{comparison.compared} images, with the CPU's CAFFE"


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_busy(contenders: list[Contender]) -> None:
    """Says that the machine was busy with other work, where it was."""
    said = busy.sentence([taken for one in contenders for taken in one.others])
    if said:
        print(f"\n{said}")


def _judge(contenders: list[Contender]) -> int:
    """Says whose results or losses are not to be trusted; returns the exit code."""
    return _say(faults(contenders))


def _say(sentences: Iterable[str]) -> int:
    """Says what is wrong, where anything is; returns the exit code."""
    sentences = list(sentences)
    for sentence in sentences:
        to_stderr(f"bench.py: {sentence}")
    return DISAGREE if sentences else 0
