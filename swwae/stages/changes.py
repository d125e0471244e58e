"""What a run was made with, and whether that has changed since."""

import hashlib
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import Message

from generator.errors import UserError
from swwae.base.project import ROOT, relative
from swwae.nets import network, weights
from swwae.runs.run import Run

IRRELEVANT = ("max_iter", "display", "snapshot", "snapshot_prefix")
"""Settings of a solver that may change: the weights it makes do not depend on them, or
--max-iter sets them too."""

Record = dict[str, str]
"""A file's path, and the sha256 of what it says as a network or solver, so that
comments do not count."""


def made_with(run: Run) -> dict[str, Record | None]:
    """Returns records of a stage's solver and network; None for what is not there."""
    solver, solver_record = None, None
    if run.stage != 1 and run.solver.is_file():
        solver = network.read_solver(run.solver)
        solver_record = _record(run.solver, _without(solver, IRRELEVANT))
    path = run.network if solver is None else ROOT / solver.net
    net_record = _record(path, network.read(path)) if path.is_file() else None
    return {"solver": solver_record, "network": net_record}


def refuse_changes(run: Run, source: Path | None, command: str) -> None:
    """Raises UserError where a run was made with other files than there are now.

    source: the weights it would start from now. What is missing now, or was not
    recorded, counts as unchanged. command: that goes on with the run.
    """
    status = run.status()
    changes = [
        f"its {kind} {now['path']} has changed since"
        for kind, now in made_with(run).items()
        if now and (before := status.get(kind)) and before["sha256"] != now["sha256"]
    ]
    first_weights = status.get("weights_in")
    if first_weights and source and source.is_file():
        if first_weights["sha256"] != weights.sha256(source):
            where = relative(source)
            changes.append(
                f"the weights {where} that it began from have changed since"
                if where == first_weights["path"]
                else f"it began from {first_weights['path']}, not from {where}"
            )
    if changes:
        raise UserError(
            f"{run.title} is out of date, as {' and '.join(changes)};"
            f" {command} --force makes it anew."
        )


def refuse_changes_before(run: Run) -> None:
    """Raises as `refuse_changes` for the stages that a run builds on, first one first.

    The chain begins at a stage that started from weights of a person's own.
    """
    before = run.previous
    if before is None:
        return
    source = before.previous and before.previous.final_weights
    first_weights = before.status().get("weights_in")
    if source and first_weights and first_weights["path"] != relative(source):
        source = ROOT / first_weights["path"]
    else:
        refuse_changes_before(before)
    refuse_changes(before, source, before.command)


def _without(
    solver: caffe_pb2.SolverParameter, settings: tuple[str, ...]
) -> caffe_pb2.SolverParameter:
    copy = caffe_pb2.SolverParameter()
    copy.CopyFrom(solver)
    for name in settings:
        copy.ClearField(name)
    return copy


def _record(path: Path, message: Message) -> Record:
    content = message.SerializeToString(deterministic=True)
    return {"path": relative(path), "sha256": hashlib.sha256(content).hexdigest()}
