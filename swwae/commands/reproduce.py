"""Table 1, Figure A-3's table and classification with few labels at the scale of
Fashion-MNIST, several seeds each, from nothing.

Runs what is missing, several commands at a time, and goes on where it was. Data,
networks and runs that the tables share are made once.
"""

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from pathlib import Path

from generator.errors import UserError
from generator.networks import NETWORKS
from swwae.base import provenance
from swwae.base.arguments import at_least
from swwae.base.files import whole_file
from swwae.base.progress import duration
from swwae.base.project import BUILD_COMMAND, CAFFE, ROOT, relative
from swwae.experiments import tables
from swwae.experiments.jobs import Schedule, only_one, run_silently
from swwae.experiments.reproduction import LABELS, NET, Reproduction

PROGRAM = "reproduce.sh"  # what people start, and see in errors


FAILED, INTERRUPTED = 1, 130


RESULTS = "results.json"


WRITE_INTERVAL = 300.0
"""Seconds after which results are written again while jobs run."""


CLASSES = NETWORKS[NET].scores.shape[0]


IMAGES = NETWORKS[NET].data.train_images


def numbers(text: str) -> tuple[int, ...]:
    """(100, 500) of 100,500; () of none."""
    if text == "none":
        return ()
    read = at_least(CLASSES, IMAGES)
    return tuple(sorted({read(part) for part in text.split(",")}))


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
        "--labels",
        type=numbers,
        default=LABELS,
        metavar="N,…|none",
        help="numbers of labels for the comparison with few labels (default:"
        f" {','.join(map(str, LABELS))})",
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="commands at a time, of one thread each (default: one a core)",
    )
    parser.add_argument(
        "--max-iter",
        type=at_least(1),
        metavar="N",
        help="iterations of every stage at most: to see that all runs, no more",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="where runs and results go (default: %(default)s)",
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="run nothing: the tables of what there is",
    )
    return parser


def prepare(plan: Reproduction) -> None:
    """Networks and databases, in seconds."""
    generate(plan)
    for arguments in plan.draws():
        run_silently(["data/few_labels.py", *arguments])


def generate(plan: Reproduction) -> None:
    """The networks and solvers alone."""
    python = relative(Path(sys.executable))
    for arguments in plan.generations():
        run_silently([python, "-m", "generator", *arguments])


def write(plan: Reproduction, command: str, seconds: float) -> list[dict]:
    """results.json and tables.md in the output's folder; returns the rows.

    seconds: of all sessions.
    """
    rows = [each.row for each in plan.measurements()]
    content = {
        "command": command,
        "seconds": round(seconds, 1),
        "iterations_at_most": plan.limit,
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        "warnings": plan.warnings(),
        "rows": rows,
    }
    with whole_file(plan.out / RESULTS, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")
    with whole_file(plan.out / "tables.md", "w") as file:
        file.write(text_of(rows, plan.limit) + "\n")
    return rows


def _seconds_before(path: Path) -> float:
    """What earlier sessions took; 0 where there is no file of them."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def text_of(rows: list[dict], limit: int | None) -> str:
    """The tables, one under another. limit: of the iterations, in a trial."""
    parts = [] if limit is None else [f"A TRIAL of {limit} iterations a stage at most."]
    parts += [
        "Errors in percent, mean ± standard deviation over seeds.",
        tables.errors(rows),
        "The paper's, of VGG-16 on ILSVRC 2012 (Table 1):",
        tables.paper_errors(),
        "Reconstruction of validation images, pixels in [0, 1], by the pooling layer"
        " that is decoded from.",
        tables.reconstruction(rows),
    ]
    if any(row["labels"] is not None for row in rows):
        parts += [
            "Few labels: all images are reconstructed, those without a label not"
            " classified.",
            tables.few_labels(rows),
            tables.few_labels(rows, "train"),
        ]
    return "\n\n".join(parts)


def say_faults(plan: Reproduction, rows: list[dict]) -> None:
    """What went wrong in trainings, and what the tables lack, a line a model."""
    for warning in plan.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    lacking = Counter(
        (row["model"], row["labels"]) for row in rows if row["images"] is None
    )
    for (model, labels), count in lacking.items():
        few = "" if labels is None else f" with {labels:,} labels"
        print(f"missing: {model}{few}, {count} results", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if not CAFFE.is_file():
        raise UserError(f"the patched Caffe is not built: run {BUILD_COMMAND}")
    plan = Reproduction(
        (ROOT / options.out).resolve(), options.seeds, options.labels, options.max_iter
    )
    command = shlex.join([f"tools/{PROGRAM}", *arguments])
    if options.tables:
        generate(plan)
        rows = [each.row for each in plan.measurements()]
        print(text_of(rows, plan.limit))
        say_faults(plan, rows)
        return 0
    with only_one(plan.out, PROGRAM):
        return reproduce(plan, options.jobs, command)


def reproduce(plan: Reproduction, at_once: int, command: str) -> int:
    """Runs what is missing; the exit code."""
    prepare(plan)
    before = _seconds_before(plan.out / RESULTS)
    written = 0.0

    def finished() -> None:
        """So that a kill loses little of what is known."""
        nonlocal written
        if schedule.seconds - written > WRITE_INTERVAL:
            written = schedule.seconds
            write(plan, command, before + written)

    schedule = Schedule(plan.jobs, at_once, finished=finished)
    count, left = len(plan.jobs), len(schedule.remaining)
    print(
        f"{NET}, seeds 1 to {plan.seeds}: {count:,} jobs, {count - left:,} done before;"
        f" {at_once} at a time, logs in {relative(plan.out)}/seed*/logs",
        flush=True,
    )
    try:
        outcome = schedule.run()
    finally:
        rows = write(plan, command, before + schedule.seconds)
    if outcome.interrupted:
        print(f"{PROGRAM}: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(f"\n{text_of(rows, plan.limit)}\n")
    print(f"tables   {relative(plan.out / 'tables.md')}")
    print(f"results  {relative(plan.out / RESULTS)}")
    print(f"took     {duration(schedule.seconds)}")
    say_faults(plan, rows)
    if outcome.failed or outcome.left_out:
        print(
            f"{PROGRAM}: {len(outcome.failed)} jobs failed and {len(outcome.left_out)}"
            " that need them were left out; mend what is said above, and run the same"
            " command again.",
            file=sys.stderr,
        )
        return FAILED
    return 0
