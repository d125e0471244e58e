"""Table 1, Figure A-3's table and classification with few labels at the scale of
Fashion-MNIST, several seeds each, from nothing.

Runs what is missing, several commands at a time, and goes on where it was. Data,
networks and runs that the tables share are made once.
"""

import argparse
import shlex
import sys
from pathlib import Path

from generator.networks import NETWORKS
from generator.small_networks import SMALL
from swwae.base.arguments import at_least
from swwae.base.progress import duration
from swwae.base.project import CAFFE, ROOT, relative, require_caffe
from swwae.commands.options import add_gpus_argument, add_jobs_argument
from swwae.engine import devices
from swwae.experiments.jobs import Schedule, exclusive_folder
from swwae.experiments.measurements import NET
from swwae.experiments.reproduction import LABELS, Reproduction
from swwae.experiments.reproduction_run import (
    RESULTS,
    TABLES,
    faults,
    generate_networks,
    measured_rows,
    reproduce,
    tables_text,
)
from swwae.experiments.tables import Row

PROGRAM = "reproduce.sh"  # what people start, and see in errors


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parsed(arguments)
    require_caffe()
    gpus, device = ([], "") if options.tables else devices.choose(CAFFE, options.gpu)
    plan = Reproduction(
        (ROOT / options.out).resolve(),
        options.seeds,
        options.labels,
        options.max_iter,
        gpus=gpus,
        net=options.net,
        **({} if options.net == NET else {"epochs": {}, "base_lr": {}}),
    )
    if options.tables:
        generate_networks(plan)
        rows = measured_rows(plan)
        print(tables_text(rows, plan.limit))
        _print_faults(plan, rows)
        return 0
    command = shlex.join([f"tools/{PROGRAM}", *arguments])
    with exclusive_folder(plan.out, PROGRAM):
        return _reproduce(plan, options.jobs, device, command)


def _reproduce(plan: Reproduction, parallel: int, device: str, command: str) -> int:
    """Runs what is missing, and prints the tables; returns the exit code.

    device: in words.
    """

    def announce(schedule: Schedule) -> None:
        count = len(plan.jobs)
        done = count - len(schedule.remaining)
        print(
            f"{plan.net}, seeds 1 to {plan.seeds}: {count:,} jobs, {done:,}"
            f" done before; {parallel} at a time, on the {device}, logs in"
            f" {relative(plan.out)}/seed*/logs",
            flush=True,
        )

    run = reproduce(plan, parallel, command, announce)
    fault = run.result.fault()
    if not run.result.interrupted:
        print(f"\n{tables_text(run.rows, plan.limit)}\n")
        print(f"tables   {relative(plan.out / TABLES)}")
        print(f"results  {relative(plan.out / RESULTS)}")
        print(f"took     {duration(run.seconds)}")
        _print_faults(plan, run.rows)
    if fault:
        print(f"{PROGRAM}: {fault}", file=sys.stderr)
    return run.result.exit_code


def _print_faults(plan: Reproduction, rows: list[Row]) -> None:
    for line in faults(plan, rows):
        print(line, file=sys.stderr)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Returns the options; what a network decides, filled in."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.labels is None:
        options.labels = LABELS if options.net == NET else ()
    elif options.labels and options.net != NET:
        parser.error(f"--labels: the rates of few labels are {NET}'s; leave it out")
    if options.out is None:
        of_net = "" if options.net == NET else f"_{options.net}"
        options.out = Path(f"runs/reproduce{of_net}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seeds",
        type=at_least(1),
        default=3,
        metavar="N",
        help="trainings of everything, with the seeds 1 to N (default: %(default)s)",
    )
    parser.add_argument(
        "--net",
        choices=(NET, *SMALL),
        default=NET,
        help="whose tables (default: %(default)s, of Fashion-MNIST); vgg8_32's are of"
        " data/cifar10, vgg10_96's of data/stl10, with rates that are estimates",
    )
    parser.add_argument(
        "--labels",
        type=_numbers,
        metavar="N,…|none",
        help="numbers of labels for the comparison with few labels (default:"
        f" {','.join(map(str, LABELS))}; only of {NET})",
    )
    add_jobs_argument(parser)
    add_gpus_argument(parser, "job")
    parser.add_argument(
        "--max-iter",
        type=at_least(1),
        metavar="N",
        help="iterations of every stage at most: to see that all runs, no more",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where runs and results go (default: runs/reproduce, and"
        " runs/reproduce_NET of another network)",
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="run nothing: the tables of what there is",
    )
    return parser


_CLASSES = NETWORKS[NET].scores.shape[0]
_IMAGES = NETWORKS[NET].data.train_images


def _numbers(text: str) -> tuple[int, ...]:
    """(100, 500) of 100,500; () of none."""
    if text == "none":
        return ()
    number = at_least(_CLASSES, _IMAGES)
    return tuple(sorted({number(part) for part in text.split(",")}))
