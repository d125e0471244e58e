"""How many images per second a network's data layer makes, by number of threads.

    tools/data_speed.py --net vgg16 --phase train
    tools/data_speed.py --lmdb data/photographs/train_lmdb --crop 224 \\
        --shorter-edge 256 512

Times the data layer alone: a network that takes more images per second waits for it.
Every count of threads is measured in processes of its own, in turn, several times over.
"""

import argparse
import math
import signal
import sys
from functools import partial
from pathlib import Path

from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, write_json
from swwae.base.processes import cores
from swwae.base.project import relative
from swwae.bench.data_speed import PHASES, layer_on, layers_of, measure_all, report
from swwae.runs.run import Run
from swwae.stages.sources import require_network

MOST_THREADS = 1024


def _thread_counts(text: str) -> list[int]:
    return [at_least(1, MOST_THREADS)(part) for part in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--net", metavar="NET", help="a network's own data layer")
    source.add_argument("--lmdb", type=Path, metavar="DIR", help="a layer on this LMDB")
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
        default=list(range(1, cores() + 1)),
        metavar="N,...",
        help="1 to the number of cores",
    )
    parser.add_argument(
        "--repetitions", type=at_least(1), default=5, metavar="N", help="%(default)s"
    )
    parser.add_argument(
        "--seconds",
        type=number(lambda x: math.isfinite(x) and x > 0, "number of seconds above 0"),
        default=4,
        metavar="S",
        help="of each; %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    options = parser.parse_args()
    if len(options.shorter_edge) > 2:
        parser.error("--shorter-edge: one or two lengths")
    return options


def main() -> None:
    options = _arguments()
    # SIGTERM, too, ends the process that measures
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.json:
        check_writable(options.json)
    phase = options.phase
    if options.net:
        run = Run(options.net, options.variant, 4)
        net = require_network(run, run.network)
        text = layers_of(run.network, net, phase)
        name = relative(run.network)
    else:
        edges = options.shorter_edge
        text = layer_on(options.lmdb, options.crop, edges, phase, options.batch)
        name = relative(options.lmdb)
    progress = partial(print, file=sys.stderr)
    takes = options.repetitions * len(options.threads) * options.seconds
    progress(
        f"data layer of {name}, phase {phase}: {options.repetitions} repetitions with"
        f" each of {', '.join(map(str, options.threads))} threads, at least"
        f" {takes:.0f} s"
    )
    measurements = measure_all(
        text, phase, options.threads, options.repetitions, options.seconds, progress
    )
    print(report(measurements))
    if options.json:
        result = {
            "data": name,
            "phase": phase,
            "images_per_second": {str(m.threads): m.rates for m in measurements},
        }
        write_json(options.json, result)
