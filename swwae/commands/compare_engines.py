"""Whether two engines of the fork train equally well: with several seeds each, from
nothing through every stage, and tests of what the trainings end with.

    tools/compare_engines.py
    tools/compare_engines.py --engines DIRECT,DNNL --seeds 8 --json engines.json

Runs what is missing, and goes on where it was. docs/performance.md says how to read
the table.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from statistics import mean, stdev

from generator.derived import epochs_text, parse_epochs
from generator.errors import UserError
from swwae.base import provenance
from swwae.base.arguments import at_least
from swwae.base.files import check_writable, whole_file
from swwae.base.project import BUILD_COMMAND, CAFFE, ROOT, relative
from swwae.base.tables import print_summary
from swwae.experiments import paired_tests
from swwae.experiments.engines import (
    ENGINES,
    EPOCHS,
    Engines,
    Row,
)
from swwae.experiments.jobs import Schedule, only_one, run_silently
from swwae.experiments.paired_tests import LEVEL, TESTS, Comparison
from swwae.experiments.tables import markdown

PROGRAM = "compare_engines.py"


TOLD_APART = FAILED = 1


INTERRUPTED = 130


MOST_SEEDS = 1000


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if options.json:
        check_writable(options.json)
    if not CAFFE.is_file():
        raise UserError(f"the patched Caffe is not built: run {BUILD_COMMAND}")
    plan = Engines(
        (ROOT / options.out).resolve(),
        options.net,
        options.variant,
        options.engines,
        options.seeds,
        parse_epochs(options.epochs) if options.epochs else dict(EPOCHS),
    )
    plan.check()
    python = relative(Path(sys.executable))
    run_silently([python, "-m", "generator", *plan.generation()])
    plan.check_data()
    if options.dry_run:
        announce(plan, Schedule(plan.jobs, options.jobs), options.jobs)
        return 0
    command = shlex.join([f"tools/{PROGRAM}", *arguments])
    with only_one(plan.out, PROGRAM):
        return train_and_compare(plan, options.jobs, options.json, command)


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
        type=_engines,
        default=("CAFFE", "DNNL"),
        metavar="NAME,NAME",
        help=f"two of {', '.join(ENGINES)}; DIRECT is DNNL without Winograd's"
        " algorithm (default: CAFFE,DNNL)",
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
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="commands at a time, of one thread each (default: one a core)",
    )
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


def _engines(text: str) -> tuple[str, str]:
    named = text.split(",")
    for name in named:
        if name not in ENGINES:
            known = ", ".join(ENGINES)
            raise argparse.ArgumentTypeError(f"'{name}' is none of {known}")
    if len(named) != 2 or named[0] == named[1]:
        raise argparse.ArgumentTypeError(f"'{text}' is not two engines")
    return named[0], named[1]


def announce(plan: Engines, schedule: Schedule, at_once: int) -> None:
    """What will be run, before it is."""
    count, left = len(plan.jobs), len(schedule.remaining)
    print_summary(
        f"{plan.title}, seeds 1 to {plan.seeds} with {' and '.join(plan.engines)}:"
        f" {count} jobs, {count - left} done before",
        [
            *((name, _settings(ENGINES[name])) for name in plan.engines),
            *((f"stage {stage}", text) for stage, text in plan.lengths().items()),
            ("at once", f"{at_once}, of one thread each"),
            ("logs", f"{relative(plan.out)}/seed*/logs"),
        ],
    )


def _settings(environment: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in environment.items())


def train_and_compare(
    plan: Engines, at_once: int, json_file: Path | None, command: str
) -> int:
    """Runs what is missing, and judges all; the exit code."""
    schedule = Schedule(plan.jobs, at_once)
    announce(plan, schedule, at_once)
    outcome = schedule.run()
    if outcome.interrupted:
        print(f"{PROGRAM}: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    if outcome.failed or outcome.left_out:
        print(
            f"{PROGRAM}: {len(outcome.failed)} jobs failed and {len(outcome.left_out)}"
            " that need them were left out, so nothing is compared; mend what is said"
            " above, and run the same command again.",
            file=sys.stderr,
        )
        return FAILED
    for warning in plan.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    plan.check_difference()
    rows = plan.rows()
    comparisons = paired_tests.compare(plan.quantities(rows))
    print(f"\n{table(comparisons, plan.engines)}\n")
    print(foot(plan.seeds))
    print(f"\n{verdict(comparisons, plan.engines)}")
    if json_file:
        content = as_json(plan, rows, comparisons, command)
        with whole_file(json_file, "w") as file:
            json.dump(content, file, indent=2, allow_nan=False)
            file.write("\n")
    return TOLD_APART if any(each.told_apart for each in comparisons) else 0


# --- what is said


def table(comparisons: list[Comparison], engines: tuple[str, str]) -> str:
    """A row a quantity, in Markdown."""
    first, second = engines
    head = ["", first, second, f"{second} − {first}", "95 %", *TESTS]
    body = [
        [
            each.name,
            *_summaries(each.first, each.second),
            f"{each.difference:+.2g}",
            "{:+.2g} to {:+.2g}".format(*each.interval),
            *(f"{each.p[test]:.2g} ({each.corrected[test]:.2g})" for test in TESTS),
        ]
        for each in comparisons
    ]
    return markdown(head, body)


def _summaries(*samples: paired_tests.Values) -> list[str]:
    """Means and deviations, to the second digit of the largest deviation."""
    spread = max(map(stdev, samples))
    digits = 4 if spread == 0 else max(0, 1 - paired_tests.magnitude(spread))
    return [
        f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}" for values in samples
    ]


def foot(seeds: int) -> str:
    """What the table's numbers are."""
    return (
        f"Mean ± standard deviation of {seeds} seeds; the mean difference of pairs and"
        f" its 95 % interval;\np, and in brackets with Holm's correction, of"
        f" {len(TESTS)} tests. All of validation images, the losses as weighted in"
        " training."
    )


def verdict(comparisons: list[Comparison], engines: tuple[str, str]) -> str:
    """Whether any test tells the engines apart, and what the tests cannot."""
    first, second = engines
    count = len(comparisons)
    under = f"at {LEVEL * 100:.0f} % after Holm's correction over {count} quantities"
    found = [
        f"{each.name} by {test} (p = {p:.2g})"
        for each in comparisons
        for test, p in each.told_apart.items()
    ]
    if found:
        text = f"{first} and {second} are told apart {under}: {'; '.join(found)}."
    else:
        text = f"No test tells {first} and {second} apart {under}."
    seeds = len(comparisons[0].first)
    least = min(1.0, count * paired_tests.least_mann_whitney(seeds))
    if least >= LEVEL:
        text += (
            f"\nOf {seeds} seeds Mann-Whitney's p is {least:.2g} at the least, once"
            " corrected: that test can tell nothing apart. Take more --seeds."
        )
    return text


def as_json(
    plan: Engines, rows: list[Row], comparisons: list[Comparison], command: str
) -> dict:
    """All that was found; nothing in it is not a number."""
    return {
        "command": command,
        "net": plan.name,
        "variant": plan.variant,
        "engines": {name: ENGINES[name] for name in plan.engines},
        "seeds": plan.seeds,
        "epochs": {str(stage): epochs for stage, epochs in plan.epochs.items()},
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        "warnings": plan.warnings(),
        "level": LEVEL,
        "runs": rows,
        "comparisons": [
            {
                "quantity": each.name,
                "means": [mean(each.first), mean(each.second)],
                "deviations": [stdev(each.first), stdev(each.second)],
                "difference": each.difference,
                "interval": list(each.interval),
                "unpaired_interval": list(each.unpaired_interval),
                "p": each.p,
                "corrected": each.corrected,
                "told_apart_by": list(each.told_apart),
            }
            for each in comparisons
        ],
        "told_apart": any(each.told_apart for each in comparisons),
    }
