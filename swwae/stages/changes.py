"""What a run was made with, and whether that has changed since."""

import hashlib
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import Message

from generator.errors import UserError
from swwae.base.project import ROOT, relative
from swwae.nets import network, weights
from swwae.runs.run import Run

NO_MATTER = ("max_iter", "display", "snapshot", "snapshot_prefix")
"""Settings of a solver that may change: the weights it makes do not depend on them, or
--max-iter sets them too."""


Record = dict[str, str]
"""path, sha256: of what a network or solver says, so that comments do not count."""


def made_with(stage: Run) -> dict[str, Record | None]:
    """Records of the stage's solver and network; None for what is not there."""
    solver, solver_record = None, None
    if stage.stage != 1 and stage.solver.is_file():
        solver = network.read_solver(stage.solver)
        solver_record = _record(stage.solver, _without(solver, NO_MATTER))
    path = stage.network if solver is None else ROOT / solver.net
    there = path.is_file()
    return {
        "solver": solver_record,
        "network": _record(path, network.read(path)) if there else None,
    }


def refuse_changes(stage: Run, source: Path | None, command: str) -> None:
    """Raises UserError where a run was made with other files than there are now.

    source: the weights it would start from now. What is missing now, or was not
    recorded, counts as unchanged.
    """
    status = stage.status()
    found = [
        f"its {kind} {now['path']} has changed since"
        for kind, now in made_with(stage).items()
        if now and (before := status.get(kind)) and before["sha256"] != now["sha256"]
    ]
    began = status.get("weights_in")
    if began and source and source.is_file():
        if began["sha256"] != weights.sha256(source):
            where = relative(source)
            found.append(
                f"the weights {where} that it began from have changed since"
                if where == began["path"]
                else f"it began from {began['path']}, not from {where}"
            )
    if found:
        raise UserError(
            f"{stage.title} is out of date, as {' and '.join(found)};"
            f" {command} --force makes it anew."
        )


def refuse_changes_before(stage: Run) -> None:
    """`refuse_changes` for the stages that a run builds on, the first one first.

    It ends at one that began from weights of the user's own.
    """
    before = stage.previous
    if before is None:
        return
    source = before.previous and before.previous.final_weights
    began = before.status().get("weights_in")
    if source and began and began["path"] != relative(source):
        source = ROOT / began["path"]
    else:
        refuse_changes_before(before)
    refuse_changes(before, source, before.command)


def _without(
    solver: caffe_pb2.SolverParameter, names: tuple[str, ...]
) -> caffe_pb2.SolverParameter:
    copy = caffe_pb2.SolverParameter()
    copy.CopyFrom(solver)
    for name in names:
        copy.ClearField(name)
    return copy


def _record(path: Path, message: Message) -> Record:
    content = message.SerializeToString(deterministic=True)
    return {"path": relative(path), "sha256": hashlib.sha256(content).hexdigest()}
