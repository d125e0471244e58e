#!/usr/bin/env python3
"""Times whole training steps of a network: forward, backward, update.

    tools/bench.py --net vgg8 --variant swwae-all --stage 4 --batch 64
    tools/bench.py --net vgg16 --variant swwae-all --stage 2 --batch 8,32 --threads 1,2

Compares Caffe's engines CAFFE (stock) and DNNL, and PyTorch where it is installed: the
same network with the same weights and images, in processes that take turns. Needs no
data. docs/performance.md says how to read the table.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import signal
from dataclasses import asdict
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime import UserError, run, use_project_python

use_project_python("caffe", "google", "numpy")
os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports every layer otherwise

import bench_network as networks  # noqa: E402
import bench_rounds as rounds  # noqa: E402
import bench_table as table  # noqa: E402
import network  # noqa: E402
import numpy as np  # noqa: E402
import weights  # noqa: E402
from arguments import at_least, number  # noqa: E402
from bench_rounds import Contender, Rounds, to_stderr  # noqa: E402
from bench_worker import Job, Refused, Worker  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402
from prerequisites import require, require_network  # noqa: E402
from provenance import host, versions  # noqa: E402
from runs import CAFFE, Run, check_writable, relative  # noqa: E402
from status import print_table  # noqa: E402
from wholefile import whole_file  # noqa: E402

SIDES = {
    "caffe": {"CAFFE": "caffe"},
    "dnnl": {"DNNL": "caffe"},
    "torch": {"PyTorch": "torch", "PyTorch, channels last": "torch-channels-last"},
}
"""What --engines names -> contender -> kind of its worker."""

TORCH_COMMAND = ".venv/bin/pip install -e '.[torch]'"
NO_TORCH = f"torch is not installed: run {TORCH_COMMAND}"

BOUND = 1e-3
"""The largest relative difference (Euclidean norms) that counts as the same result."""

DISAGREE = 1
MOST_THREADS = 1024


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers, too
    if options.json:
        check_writable(options.json)
    stage = Run(options.net, options.variant, options.stage, options.depth)
    net = require_network(stage, stage.network)
    require(stage.solver, "solver", stage.generator_command)
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
    finally:
        taking_turns.close()
    for setting in settings:
        own = [c for c in contenders if c.setting == setting]
        print(f"\n{_words(setting)}\n{table.figures(own, costs[setting[0]])}")
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


# --- what is timed


def prepare(
    stage: Run,
    net: caffe_pb2.NetParameter,
    options: argparse.Namespace,
    folder: Path,
) -> tuple[dict[int, networks.Cost], list[Contender], list[str]]:
    """Batch size -> what a step costs; contenders; the blobs that are compared.

    Files that contenders read go to the folder. Raises UserError where Caffe refuses
    the network, or weights are not its own.
    """
    deploy = stage.models / "deploy.prototxt"
    require(deploy, "network", stage.generator_command)
    image, blob = network.image_shape(deploy), network.image_blob(deploy)
    solver = network.read_solver(stage.solver)
    common = folder / "weights"
    costs, jobs = {}, {}
    for batch in options.batch or [None]:
        timed = networks.with_inputs(net, image, blob, batch, stage.network)
        batch = batch or network.batch_size(net)
        place = folder / f"batch{batch}"
        place.mkdir()
        for engine in networks.ENGINES:
            files = {
                "timed": timed,
                "compared": networks.without_chance(timed),
            }
            for kind, made in files.items():
                path = place / f"{kind}-{engine}.prototxt"
                networks.write(path, networks.on_engine(made, engine))
                text = networks.solver_for(solver, path)
                path.with_suffix(".solver").write_text(text, encoding="utf-8")
        told = _prepared(place, common, options, stage)
        costs[batch] = networks.cost(timed, told["blobs"], told["parameters"])
        inputs = networks.inputs_for(net, timed, told["classes"], options.seed)
        np.savez(place / "inputs.npz", **inputs)
        jobs[batch] = place
    contenders = [
        Contender(
            name,
            batch,
            _job(kind, name, jobs[batch], common, threads, "timed"),
            _job(kind, name, jobs[batch], common, threads, "compared"),
            NO_TORCH if engine == "torch" and not _has_torch() else None,
        )
        for batch, threads in product(jobs, options.threads)
        for engine in options.engines
        for name, kind in SIDES[engine].items()
    ]
    return costs, contenders, networks.outputs_of(timed)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _job(
    kind: str, name: str, place: Path, common: Path, threads: int, what: str
) -> Job:
    engine = name if name in networks.ENGINES else networks.ENGINES[0]
    net = place / f"{what}-{engine}.prototxt"
    return Job(
        kind,
        threads,
        str(net),
        str(net.with_suffix(".solver")),
        str(place / "inputs.npz"),
        str(common),
        what == "timed",
    )


def _prepared(
    place: Path, common: Path, options: argparse.Namespace, stage: Run
) -> dict:
    """Shapes of a network; the first time, the weights of all are saved as `common`."""
    begin = common
    first = not common.with_suffix(".npz").is_file()
    job = _job("caffe", "CAFFE", place, common, 1, "compared")
    if first and options.weights:
        given = weights.load(options.weights)
        shapes = network.parameter_shapes(Path(job.net))
        weights.require_all(
            shapes, given, options.weights, options.net, relative(stage.network)
        )
        weights.require_finite(given, options.weights)
        weights.save(given, begin.with_suffix(".caffemodel"))
        del given
    try:
        worker = Worker(job, "Caffe")
    except Refused as error:
        raise UserError(f"{relative(stage.network)}: {error}") from error
    try:
        return worker.ask(prepare=str(common) if first else None)
    finally:
        worker.close()


# --- what is said


def announce(
    stage: Run,
    options: argparse.Namespace,
    costs: dict[int, networks.Cost],
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
    print_table(
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
    costs: dict[int, networks.Cost],
    contenders: list[Contender],
) -> dict:
    """All that was found; null where there is no such number."""
    made_with = versions(CAFFE)
    if _has_torch():
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
    for each in contenders:
        for part, found in each.differences.items():
            if found.l2 > BOUND:
                to_stderr(
                    f"bench.py: {each.title}: {part} of {found.l2_of} differ from"
                    f" CAFFE's by {found.l2:.2g}, more than {BOUND:g}: that is another"
                    " result, and its time says nothing."
                )
                code = DISAGREE
        if not each.finite:
            to_stderr(
                f"bench.py: {each.title}: the loss is not finite after these steps;"
                " give weights that work with --weights FILE."
            )
            code = DISAGREE
    return code


if __name__ == "__main__":
    run(main)
