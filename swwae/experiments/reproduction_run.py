"""Runs a reproduction: makes its networks and databases, trains, measures, and writes
results.json and tables.md.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swwae.base import provenance
from swwae.base.files import whole_file, write_json
from swwae.base.project import CAFFE, relative
from swwae.experiments.jobs import Schedule, ScheduleResult, run_silently
from swwae.experiments.reproduction import Reproduction
from swwae.experiments.tables import (
    Row,
    errors_table,
    few_labels_table,
    paper_errors_table,
    reconstruction_table,
)

RESULTS = "results.json"
TABLES = "tables.md"

WRITE_INTERVAL = 300.0
"""Seconds after which results are written again while jobs run."""


def prepare(plan: Reproduction) -> None:
    """Makes networks and databases, in seconds; UserError where one cannot be made."""
    generate_networks(plan)
    for arguments in plan.few_labels_arguments():
        run_silently(["data/few_labels.py", *arguments])


def generate_networks(plan: Reproduction) -> None:
    """Makes the networks and solvers alone; UserError where one cannot be made."""
    python = relative(Path(sys.executable))
    for arguments in plan.generator_arguments():
        run_silently([python, "-m", "generator", *arguments])


@dataclass(frozen=True)
class ReproductionRun:
    """How a reproduction ended. rows: of results.json; seconds: of this session."""

    result: ScheduleResult
    rows: list[Row]
    seconds: float


def reproduce(
    plan: Reproduction,
    parallel: int,
    command: str,
    announce: Callable[[Schedule], None],
) -> ReproductionRun:
    """Runs what is missing, and writes the results, now and then and in the end.

    parallel: jobs at a time; command: the command line, for results.json; announce: is
    called before the first job. Raises what `Schedule.run` raises.
    """
    prepare(plan)
    before = seconds_before(plan)
    written = 0.0

    def write_now_and_then() -> None:
        """So that a kill loses little of what is known."""
        nonlocal written
        if schedule.seconds - written > WRITE_INTERVAL:
            written = schedule.seconds
            write_results(plan, command, before + written)

    schedule = Schedule(plan.jobs, parallel, after_job=write_now_and_then)
    announce(schedule)
    try:
        result = schedule.run()
    finally:
        rows = write_results(plan, command, before + schedule.seconds)
    return ReproductionRun(result, rows, schedule.seconds)


def write_results(plan: Reproduction, command: str, seconds: float) -> list[Row]:
    """Writes results.json and tables.md into the plan's folder; returns the rows.

    seconds: of all sessions.
    """
    rows = measured_rows(plan)
    content = {
        "command": command,
        "seconds": round(seconds, 1),
        "iterations_at_most": plan.limit,
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        "warnings": plan.warnings(),
        "rows": rows,
    }
    write_json(plan.out / RESULTS, content)
    with whole_file(plan.out / TABLES, "w") as file:
        file.write(tables_text(rows, plan.limit) + "\n")
    return rows


def measured_rows(plan: Reproduction) -> list[Row]:
    """Returns a row a measurement, without figures where it is missing."""
    return [measurement.row for measurement in plan.measurements()]


def seconds_before(plan: Reproduction) -> float:
    """Returns what earlier sessions took; 0 where there is no file of them."""
    path = plan.out / RESULTS
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (
        OSError,
        ArithmeticError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        return 0.0


def tables_text(rows: list[Row], limit: int | None) -> str:
    """Returns the tables, one under another. limit: of the iterations, in a trial."""
    parts = [] if limit is None else [f"A TRIAL of {limit} iterations a stage at most."]
    parts += [
        "Errors in percent, mean ± standard deviation over seeds.",
        errors_table(rows),
        "The paper's, of VGG-16 on ILSVRC 2012 (Table 1):",
        paper_errors_table(),
        "Reconstruction of validation images, pixels in [0, 1], by the pooling layer"
        " that is decoded from.",
        reconstruction_table(rows),
    ]
    if any(row["labels"] is not None for row in rows):
        parts += [
            "Few labels: all images are reconstructed, those without a label not"
            " classified.",
            few_labels_table(rows),
            few_labels_table(rows, "train"),
        ]
    return "\n\n".join(parts)


def faults(plan: Reproduction, rows: list[Row]) -> list[str]:
    """Returns what trainings warn of, and what the tables lack, a line a model."""
    lines = [f"warning: {warning}" for warning in plan.warnings()]
    missing = Counter(
        (row["model"], row["labels"]) for row in rows if row["images"] is None
    )
    for (model, labels), count in missing.items():
        few = "" if labels is None else f" with {labels:,} labels"
        lines.append(f"missing: {model}{few}, {count} results")
    return lines
