"""Trains through the stages while killing, stopping, filling the disk, corrupting.

    tools/soak.sh --hours 1 --seed 1
    tools/soak.sh --hours 1 --seed 1 --faults 50 --json soak.json

Rounds of two trainings: one is undisturbed, the other meets faults at random moments
and is started again by the same command. What both leave, the final weights and the
last snapshot of every stage, must be the same, bit by bit. The seed decides which
faults come in which order and, as shares of the time that a stage takes, when; a
round's trainings have the seed of the round before and 1.

What the machine does not let be done is named and left out: for all of it, root or user
namespaces are needed and, to set back the clock, Debian's package libfaketime.

The exit code is 0 where every fault was survived and no bit differs; 1 otherwise, and
what was left then stays in the folder of the runs.
"""

import argparse
import math
from pathlib import Path

from generator.errors import UserError
from swwae.base.arguments import at_least, names_of, number
from swwae.base.files import check_writable, whole_file, write_json
from swwae.base.program import FAILED
from swwae.base.project import RUNS, relative, require_caffe
from swwae.base.tables import print_summary
from swwae.experiments.jobs import exclusive_folder
from swwae.runs.run import Run
from swwae.soak import report
from swwae.soak.faults import FAULTS, left_out
from swwae.soak.soak import Record, Result, Settings, Soak

PROGRAM = "soak.sh"
"""What people start, and see in errors."""


def main() -> int:
    options = _parser().parse_args()
    require_caffe()
    Run(options.net, options.variant, 4)
    files = [path for path in (options.json, options.table) if path is not None]
    for path in files:
        check_writable(path)
    missing = {k: why for k, why in left_out().items() if k in options.kinds}
    kinds = [kind for kind in options.kinds if kind not in missing]
    if not kinds:
        raise UserError(f"no fault is left: {'; '.join(missing.values())}.")
    settings = Settings(
        net=options.net,
        variant=options.variant,
        seed=options.seed,
        intervals=options.intervals,
        hours=options.hours,
        most=options.faults,
        a_stage=options.a_stage,
        kinds=kinds,
        out=options.out.absolute(),
    )

    def after_round(result: Result) -> None:
        if options.json is not None:
            write_json(options.json, report.as_json(settings, result, missing))
        if options.table is not None:
            with whole_file(options.table, "w") as file:
                file.write(report.table(result) + "\n")

    rows = [
        ("seed", str(settings.seed)),
        ("faults", ", ".join(kinds)),
        *(("without", f"{kind}: {why}") for kind, why in missing.items()),
        ("runs", relative(settings.out)),
    ]
    print_summary(f"a soak of {settings.net}, {settings.variant}", rows)
    with exclusive_folder(settings.out, PROGRAM):
        result = Soak(settings, _print_fault, after_round).run()
    print(report.summary(result))
    if result.unmet or result.differing:
        print(f"what was left is in {relative(settings.out)}/round{result.rounds}")
        return FAILED
    return 0


def _print_fault(record: Record) -> None:
    print(report.line(record), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--hours",
        type=number(lambda x: 0 < x < math.inf, "number of hours above 0"),
        default=1.0,
        metavar="H",
        help="no fault and no round begins later; default: %(default)g",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0, 2**30),
        default=1,
        metavar="S",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--faults",
        type=at_least(1),
        metavar="N",
        help="in all; it ends with the round that has the last one (default: as many as"
        " fit the hours)",
    )
    parser.add_argument(
        "--a-stage",
        type=at_least(1),
        default=6,
        metavar="N",
        help="faults at most in a stage of a round (default: %(default)s)",
    )
    parser.add_argument(
        "--kinds",
        type=names_of(FAULTS),
        default=list(FAULTS),
        metavar="NAME,...",
        help=f"of faults, some of {', '.join(FAULTS)} (default: all)",
    )
    parser.add_argument("--net", default="vgg8", help="default: %(default)s")
    parser.add_argument("--variant", default="swwae-all", help="default: %(default)s")
    parser.add_argument(
        "--intervals",
        type=at_least(1),
        default=3,
        metavar="N",
        help="between snapshots, that each stage trains (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RUNS / "soak",
        metavar="DIR",
        help="of the runs (default: runs/soak)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all results, too")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="the kinds of faults, as Markdown"
    )
    return parser
