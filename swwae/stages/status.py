"""What is recorded of a stage in its status.json, and what is said of it."""

import os
import shlex
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base import provenance
from swwae.base.progress import duration
from swwae.base.project import CAFFE, ROOT, relative
from swwae.base.provenance import now
from swwae.base.tables import columns
from swwae.engine import cards
from swwae.engine.log import Series, read_log
from swwae.nets import weights
from swwae.runs.run import STAGES, Run
from swwae.stages import changes

Status = dict[str, Any]
"""The content of a status.json."""


def new_status(
    run: Run, command: str, seed: int, device: str, source: Path | None
) -> Status:
    """Returns the status of a session that begins; paths are relative to the project.

    command: that goes on with the stage; source: the weights it starts from. Raises
    UserError where those cannot be read.
    """
    made_with = changes.made_with(run)
    net = made_with["network"]
    return {
        "state": "running",
        "stage": run.stage,
        "net": run.net,
        "variant": run.variant,
        "depth": run.depth,
        "macro_layer": run.macro_layer,
        "command": shlex.split(command),
        "caffe_command": None,
        "started": now(),
        "ended": None,
        "pid": os.getpid(),
        "seed": seed,
        "device": device,
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        **made_with,
        "data": [] if run.stage == 1 else changes.data_of(ROOT / net["path"]),
        "weights_in": None if source is None else file_record(source),
        "weights_out": None,
        "iterations": 0,
        "max_iter": 0,
        "seconds": 0.0,
        "peak_memory_bytes": None,
        "resumed_from": [],
        "earlier_sessions": [],
    }


def add_history(status: Status, before: Status, start: int, trains: bool) -> None:
    """Adds what earlier sessions have recorded to the status of one that resumes.

    start: the iteration that it resumes from. trains: whether it goes beyond that;
    otherwise the device that is recorded is the one before.
    """
    earlier = before.get("earlier_sessions", [])
    on = {key: before[key] for key in ("device", "gpu") if key in before}
    if trains:
        began = (before.get("resumed_from") or [0])[-1]
        if start > began:  # it has left something that is gone on from
            earlier = [*earlier, {"iterations": [began, start], **on}]
    else:
        status |= on
    status["earlier_sessions"] = earlier
    status["seconds"] = before.get("seconds", 0.0)
    status["peak_memory_bytes"] = before.get("peak_memory_bytes")
    status["started"] = before.get("started", status["started"])
    if "damaged_records" in before:
        status["damaged_records"] = before["damaged_records"]
    if status["weights_in"] is None:
        status["weights_in"] = before.get("weights_in")
    status["resumed_from"] = [*before.get("resumed_from", []), start]


def parameter_counts(comparison: weights.Comparison, shapes: weights.Shapes) -> Status:
    """Returns how many parameters were copied and were fresh, and which layers."""
    return {
        key: {
            "layers": names,
            "parameters": weights.count(s for name in names for s in shapes[name]),
        }
        for key, names in (
            ("copied", comparison.copied),
            ("fresh", comparison.missing),
        )
    }


def log_results(path: Path) -> Status:
    """Returns the losses and the test outputs that a log shows last."""
    if not path.is_file():
        return {}
    log = read_log(path)
    losses = {
        name: _last_value(series) | {"weight": log.weights[name]}
        for name, series in log.train.items()
        if name in log.weights
    }
    if len(log.loss[0]):
        losses["total"] = _last_value(log.loss) | {"weight": 1.0}
    outputs = {name: _last_value(series) for name, series in log.test.items()}
    return {"final_losses": losses, "test_outputs": outputs}


def _last_value(series: Series) -> Status:
    iteration, value = int(series[0][-1]), float(series[1][-1])
    return {"iteration": iteration, "value": value if isfinite(value) else str(value)}


def record_end(run: Run, status: Status, state: str, fault: str = "") -> None:
    """Writes that a session has ended. state: of runs.run.STATES; fault: a sentence."""
    status |= {"state": state, "ended": now()}
    if fault:
        status["fault"] = fault
    run.write_status(status)


def record_finish(run: Run, status: Status, iterations: int) -> None:
    """Writes, and says, that a stage is finished and where its weights are."""
    status["iterations"] = iterations
    status["weights_out"] = file_record(run.final_weights)
    record_end(run, status, "finished")
    seconds = status["seconds"]
    took = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
    took = f" in {took}" if seconds else ""
    print(f"{run.title} is finished{took}: {relative(run.final_weights)}")


def print_status(run: Run) -> None:
    """Prints how a stage stands, as its status.json says."""
    status = run.status()
    parts = [] if run.macro_layer else run.begun_parts()
    if not status and not parts:
        print(f"{run.title} has not been started: {run.command}")
    if not status:
        for part in parts:
            print_status(part)
        return
    total = status.get("max_iter")
    done = f"{status['iterations']:,}" + (f" of {total:,}" if total else "")
    found = [
        ("state", status["state"]),
        ("done", f"{done} iterations in {duration(status.get('seconds') or 0)}"),
        *((f"macro-layer {part.macro_layer}", _standing(part)) for part in parts),
        ("seed", status.get("seed")),
        ("device", status.get("device")),
        *cards.describe(status.get("gpu")),
        ("before", earlier_devices(status)),
        ("started", status.get("started")),
        ("ended", status.get("ended")),
        ("fault", status.get("fault")),
        ("warning", status.get("warning")),
        ("damaged records", status.get("damaged_records")),
        ("log", relative(run.log) if run.log.is_file() else None),
        (
            "weights",
            relative(run.final_weights) if run.final_weights.is_file() else None,
        ),
    ]
    rows = [(what, str(value)) for what, value in found if value not in (None, "")]
    print(f"{run.title}: {STAGES[run.stage]}\n{columns(rows, '<<', indent='  ')}")


def _standing(run: Run) -> str:
    """Returns how a run stands, in a few words."""
    status = run.status()
    return f"{status['state']}, {status['iterations']:,} iterations"


def earlier_devices(status: Status) -> str | None:
    """Returns what a stage's earlier sessions have trained on, in words: "CPU to
    iteration 10, …"; None where there are none."""
    sessions = status.get("earlier_sessions")
    words = []
    for session in sessions if isinstance(sessions, list) else []:
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # made by hand
            math = session.get("gpu", {}).get("math")
            on = f"{session['device']}, {math}," if math else session["device"]
            words.append(f"{on} to iteration {session['iterations'][1]:,}")
    return "; ".join(words) or None


def file_record(path: Path) -> dict[str, str]:
    """Returns a file's path and checksum; UserError where it cannot be read."""
    try:
        return {"path": relative(path), "sha256": weights.sha256(path)}
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error


def weight_rows(
    comparison: weights.Comparison, shapes: weights.Shapes, kept: bool
) -> list[tuple[str, str]]:
    """Returns rows of a summary on copied, fresh and unused layers.

    kept: whether the unused ones are carried along for later stages.
    """

    def text(names: list[str], listed: bool) -> str:
        parameters = weights.count(s for name in names for s in shapes[name])
        listing = f": {', '.join(names)}" if listed else ""
        noun = "layer" if len(names) == 1 else "layers"
        return f"{len(names)} {noun}, {parameters:,} parameters{listing}"

    rows = []
    if comparison.copied:
        rows.append(("copied", text(comparison.copied, listed=False)))
    if comparison.missing:
        rows.append(("fresh", text(comparison.missing, listed=True)))
    if comparison.unused:
        names = ", ".join(comparison.unused)
        what = "carried along for later stages" if kept else "not in the network"
        rows.append(("unused", f"{names} ({what})"))
    return rows
