#!/usr/bin/env python3
"""How many images per second a network's data layer makes, by number of threads.

    tools/data_speed.py --net vgg16 --phase train
    tools/data_speed.py --lmdb data/photographs/train_lmdb --crop 224 \\
        --shorter-edge 256 512

Times the data layer alone: a network that takes more images per second waits for it.
Every count of threads is measured in processes of its own, in turn, several times over.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import monotonic

from runtime import ROOT, UserError, run, use_project_python

use_project_python("caffe")
import caffe  # noqa: E402
import network  # noqa: E402
from arguments import at_least  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402
from caffelog import Fatal, parse_line  # noqa: E402
from google.protobuf import text_format  # noqa: E402
from prerequisites import require_databases, require_network  # noqa: E402
from runs import Run, check_writable, relative  # noqa: E402
from wholefile import whole_file  # noqa: E402

PHASES = {"train": caffe.TRAIN, "test": caffe.TEST}
THREADS = "OMP_NUM_THREADS"
"""The environment variable that says how many threads transform images."""
MOST_THREADS = 1024


@dataclass(frozen=True)
class Measurement:
    """Images per second of one count of threads, one figure a repetition."""

    threads: int
    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        return median(self.rates)


def layers_of(path: Path, net: caffe_pb2.NetParameter, phase: str) -> str:
    """A network of `net`'s data layers of a phase alone, as text.

    Raises UserError where there is none, or where a database it reads is missing.
    """
    alone = caffe_pb2.NetParameter(
        layer=(
            layer
            for layer in net.layer
            if layer.type in network.DATA and _in_phase(layer, PHASES[phase])
        )
    )
    if not alone.layer:
        raise UserError(f"{relative(path)} has no data layer in phase {phase}.")
    require_databases(alone, path)
    return text_format.MessageToString(alone)


def _in_phase(layer: caffe_pb2.LayerParameter, phase: int) -> bool:
    phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
    return not phases or phase in phases


def layer_on(
    database: Path, crop: int, shorter_edge: list[int], phase: str, batch: int
) -> str:
    """A network of one data layer, as text; its training mirrors.

    shorter_edge: none, one or two lengths in pixels. Raises UserError where there is no
    database.
    """
    layer = caffe_pb2.LayerParameter(name="data", type="Data", top=["data", "label"])
    transform = layer.transform_param
    transform.mirror = phase == "train"
    transform.crop_size = crop
    if shorter_edge:
        transform.shorter_edge = shorter_edge[0]
    if len(shorter_edge) > 1:
        transform.shorter_edge_max = shorter_edge[1]
    layer.data_param.source = str(database.absolute())
    layer.data_param.backend = caffe_pb2.DataParameter.LMDB
    layer.data_param.batch_size = batch
    if not (database / "data.mdb").is_file():
        raise UserError(
            f"{relative(database)} is no LMDB: a folder that holds a data.mdb was"
            " expected; data/README.md says how one is made."
        )
    return text_format.MessageToString(caffe_pb2.NetParameter(layer=[layer]))


def measure(text: str, phase: str, threads: int, seconds: float) -> float:
    """Images per second of a network of data layers, in a process of its own.

    Raises UserError, with Caffe's own words, where it refuses the network or the data.
    """
    with NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [sys.executable, __file__, "--here", file.name]
            + ["--phase", phase, "--seconds", str(seconds)],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {THREADS: str(threads)},
            cwd=ROOT,
        )
    if done.returncode == 0:
        return float(done.stdout)
    lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
    fatal = [e.message for e in map(parse_line, lines) if isinstance(e, Fatal)]
    raise UserError(f"the data layer fails: {(fatal or lines)[-1]}")


def measure_here(path: Path, phase: str, seconds: float) -> float:
    """Images per second of the network in a file, in this process."""
    net = caffe.Net(str(path), PHASES[phase])
    ready = max(layer.data_param.prefetch for layer in network.read(path).layer)
    for _ in range(ready + 1):  # those that were made while nobody waited for them
        net.forward()
    start, images = monotonic(), 0
    while monotonic() - start < seconds:
        net.forward()
        images += next(iter(net.blobs.values())).shape[0]
    return images / (monotonic() - start)


def report(measurements: list[Measurement]) -> str:
    """A table: threads, median and range of images/s, ratio to the first row."""
    lines = [f"{'threads':>7}  {'images/s':>8}  {'range':>11}  {'ratio':>5}"]
    for one in measurements:
        spread = f"{min(one.rates):.0f}-{max(one.rates):.0f}"
        ratio = one.rate / measurements[0].rate
        lines.append(f"{one.threads:7}  {one.rate:8.0f}  {spread:>11}  {ratio:5.2f}")
    return "\n".join(lines)


def _thread_counts(text: str) -> list[int]:
    return [at_least(1, MOST_THREADS)(number) for number in text.split(",")]


def _duration(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds above 0")
    return seconds


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cores = len(os.sched_getaffinity(0))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--net", metavar="NET", help="a network's own data layer")
    source.add_argument("--lmdb", type=Path, metavar="DIR", help="a layer on this LMDB")
    source.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # by `measure`
    parser.add_argument("--variant", default="baseline", help="of NET; %(default)s")
    parser.add_argument("--phase", choices=PHASES, default="train", help="%(default)s")
    parser.add_argument(
        "--crop", type=at_least(0), default=0, metavar="N", help="with --lmdb; 0: none"
    )
    parser.add_argument(
        "--shorter-edge",
        type=at_least(1),
        nargs="+",
        default=[],
        metavar="N",
        help="with --lmdb: the length, or the smallest and the largest",
    )
    parser.add_argument(
        "--batch",
        type=at_least(1),
        default=64,
        metavar="N",
        help="with --lmdb; %(default)s",
    )
    parser.add_argument(
        "--threads",
        type=_thread_counts,
        default=list(range(1, cores + 1)),
        metavar="N,...",
        help="1 to the number of cores",
    )
    parser.add_argument(
        "--repetitions", type=at_least(1), default=5, metavar="N", help="%(default)s"
    )
    parser.add_argument(
        "--seconds", type=_duration, default=4, metavar="S", help="of each; %(default)s"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    options = parser.parse_args()
    if len(options.shorter_edge) > 2:
        parser.error("--shorter-edge: one or two lengths")
    return options


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends `measure`'s, too
    if options.here:
        print(measure_here(options.here, options.phase, options.seconds))
        return
    if options.json:
        check_writable(options.json)
    if options.net:
        stage = Run(options.net, options.variant, 4)
        net = require_network(stage, stage.network)
        text = layers_of(stage.network, net, options.phase)
        name = relative(stage.network)
    else:
        edges = options.shorter_edge
        text = layer_on(options.lmdb, options.crop, edges, options.phase, options.batch)
        name = relative(options.lmdb)
    takes = options.repetitions * len(options.threads) * options.seconds
    print(
        f"data layer of {name}, phase {options.phase}:"
        f" {options.repetitions} repetitions with each of"
        f" {', '.join(map(str, options.threads))} threads, at least {takes:.0f} s",
        file=sys.stderr,
    )
    rates: dict[int, list[float]] = {threads: [] for threads in options.threads}
    for repetition in range(options.repetitions):
        for threads in rates:
            rate = measure(text, options.phase, threads, options.seconds)
            rates[threads].append(rate)
            print(
                f"repetition {repetition + 1} of {options.repetitions},"
                f" {threads} threads: {rate:.0f} images/s",
                file=sys.stderr,
            )
    measurements = [Measurement(t, tuple(figures)) for t, figures in rates.items()]
    print(report(measurements))
    if options.json:
        result = {
            "data": name,
            "phase": options.phase,
            "images_per_second": {str(m.threads): m.rates for m in measurements},
        }
        with whole_file(options.json, "w") as file:
            file.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
