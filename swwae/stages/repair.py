"""A status.json that is damaged or lost: written anew from what lies beside it."""

import json
import shlex
from typing import Any

import numpy as np

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.nets import building, network, weights
from swwae.runs.run import DamagedStatus, Run, is_fit
from swwae.stages import changes, snapshots
from swwae.stages.status import Status, file_record, log_results

KEPT = {
    "device": str,
    "host": dict,
    "versions": dict,
    "started": str,
    "caffe_command": list,
    "seconds": (int, float),
    "peak_memory_bytes": int,
    "resumed_from": list,
    "data": list,
    "gpu": dict,
    "seed": int,
    "copied": dict,
    "fresh": dict,
}
"""What is kept of a damaged status that still says it, with its type: what no other
file knows, or not as well."""

RECORDS = ("solver", "network", "weights_in")
"""Likewise, each a path and a checksum."""


def repair(run: Run, command: str) -> None:
    """Writes a run's status.json anew where it is damaged, or lost from a trained
    stage, and says so.

    command: that goes on with the run. What is no longer known is left out, which
    counts as unchanged.
    """
    try:
        if run.status() or not run.effective_solver.is_file():
            return
        reason = "is missing"
    except DamagedStatus as error:
        reason = f"is damaged ({error.reason})"
    status = _status(run, command)
    run.write_status(status)
    print(
        f"the status.json of {run.title} {reason}; it is made anew of what lies beside"
        f" it: {status['state']}, {status['iterations']:,} iterations"
    )


def _status(run: Run, command: str) -> Status:
    said = _readable(run)
    status = {
        "state": "interrupted",
        "stage": run.stage,
        "net": run.net,
        "variant": run.variant,
        "depth": run.depth,
        "macro_layer": run.macro_layer,
        "command": shlex.split(command),
        "iterations": 0,
        "max_iter": 0,
        "seconds": 0.0,
        "peak_memory_bytes": None,
    }
    status |= {
        k: said[k]
        for k, kind in KEPT.items()
        if isinstance(said.get(k), kind) and is_fit(k, said[k])
    }
    records = {name: changes.recorded_file(said.get(name)) for name in RECORDS}
    status |= {name: record for name, record in records.items() if record}
    if run.stage == 0 and "weights_in" in said and said["weights_in"] is None:
        status["weights_in"] = None
    solver = _effective_solver(run)
    if solver is not None:
        status["max_iter"] = solver.max_iter
        status.setdefault("seed", solver.random_seed)
        status.setdefault("solver", changes.solver_record(run))
    status |= log_results(run.log)
    _count(run, status)
    if status["state"] == "finished":
        status["weights_out"] = file_record(run.final_weights)
    return status


def _count(run: Run, status: Status) -> None:
    """Sets how far a run has come, and whether it is finished: with weights of the
    network as it is now."""
    shapes = _shapes(run)
    try:
        whole, _ = snapshots.newest_whole(run.folder, shapes)
    except snapshots.Foreign:
        return
    left = bool(snapshots.iterations(run.folder))
    status["iterations"] = whole or 0
    try:
        loaded = weights.load(run.final_weights)
    except UserError:
        return
    comparison = weights.compare(shapes, loaded)
    if comparison.missing or comparison.different:
        return
    if not left:  # whoever removed the snapshots of a finished stage
        status["state"], status["iterations"] = "finished", status["max_iter"]
    elif whole is not None and whole >= status["max_iter"]:
        last = weights.read(snapshots.weights_file(run.folder, whole))
        if _holds(weights.read(run.final_weights), last):
            status["state"] = "finished"


def _shapes(run: Run) -> weights.Shapes:
    """Returns the shapes of the parameters that a stage's network has now; none where
    Caffe cannot say."""
    solver = _effective_solver(run)
    try:
        return building.parameter_shapes(
            run.network if solver is None else ROOT / solver.net
        )
    except UserError:
        return {}


def _holds(final: dict[str, list], last: dict[str, list]) -> bool:
    """Tells whether final weights were made of a snapshot's. Both: by layer."""
    return all(
        len(final.get(name, ())) == len(blobs)
        and all(map(np.array_equal, final[name], blobs))
        for name, blobs in last.items()
    )


def _effective_solver(run: Run) -> Any:
    try:
        return network.read_solver(run.effective_solver)
    except UserError:
        return None


def _readable(run: Run) -> dict[str, Any]:
    """Returns what a damaged status.json says up to where it can be read."""
    found: dict[str, Any] = {}
    try:
        text = run.status_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    decoder = json.JSONDecoder()
    sign, place = "{", 0
    while True:
        place = _skip(text, place)
        if text[place : place + 1] != sign:
            return found
        try:
            name, place = decoder.raw_decode(text, _skip(text, place + 1))
            place = _skip(text, place)
            if not isinstance(name, str) or text[place : place + 1] != ":":
                return found
            found[name], place = decoder.raw_decode(text, _skip(text, place + 1))
        except (ValueError, RecursionError):
            return found
        sign = ","


def _skip(text: str, place: int) -> int:
    """Returns the place of the first character from `place` on that is no space."""
    return len(text) - len(text[place:].lstrip())
