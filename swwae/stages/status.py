"""What is recorded of a stage in its status.json, and what is said of it."""

import argparse
import os
import shlex
from math import isfinite
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base import provenance
from swwae.base.progress import duration
from swwae.base.project import CAFFE, relative
from swwae.base.provenance import now
from swwae.engine.log import Series, read_log
from swwae.nets import weights
from swwae.runs.run import Run
from swwae.stages import changes


def new_status(
    stage: Run,
    options: argparse.Namespace,
    seed: int,
    device: str,
    source: Path | None,
) -> dict[str, Any]:
    """status.json of a session that begins; paths are relative to the project."""
    return {
        "state": "running",
        "stage": stage.stage,
        "net": stage.net,
        "variant": stage.variant,
        "depth": stage.depth,
        "command": shlex.split(options.again),
        "caffe_command": None,
        "started": now(),
        "ended": None,
        "pid": os.getpid(),
        "seed": seed,
        "device": device,
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        **changes.made_with(stage),
        "weights_in": None if source is None else file_record(source),
        "weights_out": None,
        "iterations": 0,
        "max_iter": 0,
        "seconds": 0.0,
        "peak_memory_bytes": None,
        "resumed_from": [],
    }


def counts(comparison: weights.Comparison, shapes: weights.Shapes) -> dict[str, Any]:
    """How many parameters were copied and were fresh, and which layers."""
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


def log_results(path: Path) -> dict[str, Any]:
    """The losses and the test outputs that the log shows last."""
    if not path.is_file():
        return {}
    log = read_log(path)
    losses = {
        name: last(series) | {"weight": log.weights[name]}
        for name, series in log.train.items()
        if name in log.weights
    }
    if len(log.loss[0]):
        losses["total"] = last(log.loss) | {"weight": 1.0}
    return {
        "final_losses": losses,
        "test_outputs": {name: last(series) for name, series in log.test.items()},
    }


def last(series: Series) -> dict[str, Any]:
    iteration, value = int(series[0][-1]), float(series[1][-1])
    return {"iteration": iteration, "value": value if isfinite(value) else str(value)}


def end(stage: Run, status: dict[str, Any], state: str, fault: str = "") -> None:
    status |= {"state": state, "ended": now()}
    if fault:
        status["fault"] = fault
    stage.write_status(status)


def finish(stage: Run, status: dict[str, Any], iterations: int) -> None:
    status["iterations"] = iterations
    status["weights_out"] = file_record(stage.final_weights)
    end(stage, status, "finished")
    seconds = status["seconds"]
    took = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
    took = f" in {took}" if seconds else ""
    print(f"{stage.title} is finished{took}: {relative(stage.final_weights)}")


def file_record(path: Path) -> dict[str, str]:
    """Path, and checksum of what is there; UserError where it cannot be read."""
    try:
        return {"path": relative(path), "sha256": weights.sha256(path)}
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error


def weight_rows(
    comparison: weights.Comparison, shapes: weights.Shapes, kept: bool
) -> list[tuple[str, str]]:
    """Copied, fresh and unused layers, for a person."""

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


def recorded_file(value: Any) -> dict[str, str] | None:
    """A JSON file's record of a file, with path and sha256; None for anything else."""
    keys = ("path", "sha256")
    if isinstance(value, dict) and all(isinstance(value.get(k), str) for k in keys):
        return value
    return None
