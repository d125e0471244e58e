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
import sys
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.base.files import check_writable, whole_file
from swwae.base.project import relative
from swwae.bench.data_speed import (
    PHASES,
    Measurement,
    layer_on,
    layers_of,
    measure,
    measure_here,
    report,
)
from swwae.runs.run import Run
from swwae.stages.sources import require_network

MOST_THREADS = 1024


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
