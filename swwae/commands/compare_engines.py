"""Whether two engines of the fork train equally well: with several seeds each, from
nothing through every stage, and tests of what the trainings end with.

    tools/compare_engines.py
    tools/compare_engines.py --engines DIRECT,DNNL --seeds 8 --json engines.json
    tools/compare_engines.py --engines DNNL,GPU

Runs what is missing, and goes on where it was. docs/performance.md says how to read
the table.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from generator.derived import epochs_text, parse_epochs
from generator.errors import UserError
from swwae.base.arguments import at_least
from swwae.base.files import check_writable, write_json
from swwae.base.program import FAILED
from swwae.base.project import CAFFE, ROOT, relative, require_caffe
from swwae.base.tables import print_summary
from swwae.commands.options import add_gpus_argument, add_jobs_argument
from swwae.engine import devices
from swwae.experiments import paired_tests
from swwae.experiments.engine_results import (
    any_significant,
    as_json,
    comparison_table,
    table_legend,
    verdict,
)
from swwae.experiments.engines import ENGINES, EPOCHS, OF_GPUS, EngineComparison
from swwae.experiments.jobs import Schedule, exclusive_folder, run_silently

PROGRAM = "compare_engines.py"

TOLD_APART = FAILED

MOST_SEEDS = 1000


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    gpu_engines = [name for name in options.engines if name in OF_GPUS]
    if options.gpu and not gpu_engines:
        raise UserError(
            f"--gpu goes with the engines {' and '.join(OF_GPUS)};"
            f" {' and '.join(options.engines)} compute on the CPU."
        )
    if options.json:
        check_writable(options.json)
    require_caffe()
    gpus, device = _choose_gpus(options.gpu, gpu_engines)
    plan = EngineComparison(
        (ROOT / options.out).resolve(),
        options.net,
        options.variant,
        options.engines,
        options.seeds,
        parse_epochs(options.epochs) if options.epochs else dict(EPOCHS),
        gpus,
    )
    plan.check_build()
    python = relative(Path(sys.executable))
    run_silently([python, "-m", "generator", *plan.generator_arguments()])
    plan.check_data()
    if options.dry_run:
        _announce(plan, Schedule(plan.jobs, options.jobs), options.jobs, device)
        return 0
    command = shlex.join([f"tools/{PROGRAM}", *arguments])
    with exclusive_folder(plan.out, PROGRAM):
        return _train_and_compare(plan, options.jobs, device, options.json, command)


def _choose_gpus(wanted: str | None, engines: Sequence[str]) -> tuple[list[int], str]:
    """Returns the GPUs that trainings of these engines run on in turn, and them in
    words; none without such engines. UserError where there is no GPU."""
    if not engines:
        return [], ""
    if wanted is None:
        gpus, device = devices.choose(CAFFE, None)
        if gpus:
            return gpus, device
    who = f"the engine {engines[0]} computes on a GPU"
    others = [name for name in ENGINES if name not in OF_GPUS]
    return devices.require(
        CAFFE, wanted or "all", who, f"engines of the CPU are {', '.join(others)}"
    )


def _announce(
    plan: EngineComparison, schedule: Schedule, parallel: int, device: str
) -> None:
    """Prints what will be run, before it is. device: of OF_GPUS, in words."""
    count, remaining = len(plan.jobs), len(schedule.remaining)
    lengths = plan.training_lengths()
    print_summary(
        f"{plan.title}, seeds 1 to {plan.seeds} with {' and '.join(plan.engines)}:"
        f" {count} jobs, {count - remaining} done before",
        [
            *((name, _environment_text(ENGINES[name])) for name in plan.engines),
            *((f"stage {stage}", text) for stage, text in lengths.items()),
            *([("cards", device)] if device else []),
            ("at once", f"{parallel}, of one thread each"),
            ("logs", f"{relative(plan.out)}/seed*/logs"),
        ],
    )


def _environment_text(environment: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in environment.items())


def _train_and_compare(
    plan: EngineComparison,
    parallel: int,
    device: str,
    json_file: Path | None,
    command: str,
) -> int:
    """Runs what is missing, and prints what the tests say; returns the exit code.

    device: of OF_GPUS, in words.
    """
    schedule = Schedule(plan.jobs, parallel)
    _announce(plan, schedule, parallel, device)
    result = schedule.run()
    if fault := result.fault(", so nothing is compared"):
        print(f"{PROGRAM}: {fault}", file=sys.stderr)
        return result.exit_code
    for warning in plan.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    plan.check_difference()
    rows = plan.rows()
    comparisons = paired_tests.compare(plan.quantities(rows))
    print(f"\n{comparison_table(comparisons, plan.engines)}\n")
    print(table_legend(plan.seeds))
    print(f"\n{verdict(comparisons, plan.engines)}")
    if json_file:
        write_json(json_file, as_json(plan, rows, comparisons, command))
    return TOLD_APART if any_significant(comparisons) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--net", default="vgg8", help="a built-in network (default: %(default)s)"
    )
    parser.add_argument("--variant", default="swwae-all", help="default: %(default)s")
    parser.add_argument(
        "--engines",
        type=_two_engines,
        default=("CAFFE", "DNNL"),
        metavar="NAME,NAME",
        help=f"two of {', '.join(ENGINES)}; DIRECT is DNNL without Winograd's"
        " algorithm, GPU and GPU-TF32 train on a card (default: CAFFE,DNNL)",
    )
    parser.add_argument(
        "--seeds",
        type=at_least(paired_tests.FEWEST, MOST_SEEDS),
        default=5,
        metavar="N",
        help="trainings with each engine, with the seeds 1 to N (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        metavar="STAGE=N,…",
        help=f"how long stages are (default: {epochs_text(EPOCHS)})",
    )
    add_jobs_argument(parser)
    add_gpus_argument(parser, "training with GPU or GPU-TF32")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/engines"),
        metavar="DIR",
        help="where runs go (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be run, and stop; the networks are generated",
    )
    return parser


def _two_engines(text: str) -> tuple[str, str]:
    named = text.split(",")
    for name in named:
        if name not in ENGINES:
            known = ", ".join(ENGINES)
            raise argparse.ArgumentTypeError(f"'{name}' is none of {known}")
    if len(named) != 2 or named[0] == named[1]:
        raise argparse.ArgumentTypeError(f"'{text}' is not two engines")
    return named[0], named[1]
