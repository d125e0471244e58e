"""What a run was made with, and whether that differs from what there is, or is asked
for, now."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffe.proto import caffe_pb2
from google.protobuf.message import Message

from generator.errors import UserError
from swwae.base.project import ROOT, relative
from swwae.nets import data_layers, network, weights
from swwae.runs.run import Run

IRRELEVANT = ("max_iter", "display", "snapshot", "snapshot_prefix")
"""Settings of a solver that may change: the weights it makes do not depend on them, or
--max-iter sets them too."""

COMPLETED = ("random_seed", "solver_mode", "snapshot_format", "snapshot_after_train")
"""Settings of a solver that a session fills in, beside IRRELEVANT ones."""

Record = dict[str, str]
"""A file's path, and the sha256 of what it says as a network or solver, so that
comments do not count."""

SHOWN = 8
"""Digits of a checksum that tell two apart for a person."""


def made_with(run: Run) -> dict[str, Record | None]:
    """Returns records of a stage's solver and network; None for what is not there."""
    solver, solver_record = None, None
    if run.stage != 1 and run.solver.is_file():
        solver = network.read_solver(run.solver)
        solver_record = _record(run.solver, _without(solver, IRRELEVANT))
    path = run.network if solver is None else ROOT / solver.net
    net_record = _record(path, network.read(path)) if path.is_file() else None
    return {"solver": solver_record, "network": net_record}


def data_of(path: Path) -> list[str]:
    """Returns what the data layers of a network's file read, [] without the file."""
    return data_layers.sources(network.read(path)) if path.is_file() else []


def refuse_changes(
    run: Run, source: Path | None, command: str, seed: int | None = None
) -> None:
    """Raises UserError where a run was made with something else than there is now, or
    is asked for, naming both.

    source: the weights it would start from now; None for those that it began from.
    command: that goes on with the run; seed: that is asked for, None for the run's.
    What is missing now, or was not recorded, counts as unchanged.
    """
    refuse_another_stages(run, command)
    changes = out_of_date(run, source)
    begun = run.status().get("seed")
    if None not in (seed, begun) and seed != begun:
        changes.append(f"it was begun with the seed {begun}, not {seed}")
    if changes:
        raise UserError(
            f"{run.title} is out of date, as {' and '.join(changes)};"
            f" {command} --force makes it anew."
        )


def refuse_another_stages(run: Run, command: str) -> None:
    """Raises UserError where a run's folder holds another run, moved or copied there.

    command: as of `refuse_changes`.
    """
    status = run.status()
    names = ("net", "variant", "depth", "stage", "macro_layer")
    mine = {name: getattr(run, name) for name in names}
    held = mine | {name: status[name] for name in mine if name in status}
    if held == mine:
        return
    place = f"stage {held['stage']} of {held['net']}/{held['variant']}"
    if held["depth"] is not None:
        place += f"/depth{held['depth']}"
    if held["macro_layer"] is not None:
        place += f", macro-layer {held['macro_layer']}"
    raise UserError(
        f"{relative(run.folder)} holds {place}, not {run.title}: move it away, or"
        f" replace it with {command} --force"
    )


def out_of_date(run: Run, source: Path | None) -> list[str]:
    """Returns what of a run has changed since it was made: files and weights, then and
    now, in words.

    source: as of `refuse_changes`.
    """
    status = run.status()
    found = [*_file_changes(run, status), _weights_change(run, status, source)]
    return [change for change in found if change is not None]


def refuse_changes_before(run: Run) -> None:
    """Raises as `refuse_changes` for the stages that a run builds on, first one first.

    The chain begins at a stage that started from weights of a person's own.
    """
    before = run.previous
    if before is None:
        return
    source = before.previous and before.previous.final_weights
    first_weights = recorded_file(before.status().get("weights_in"))
    if source and first_weights and not _is_same(first_weights, before, source):
        source = ROOT / first_weights["path"]
    else:
        refuse_changes_before(before)
    refuse_changes(before, source, before.command)


def first_weights_of(run: Run) -> Path | None:
    """Returns where the weights are that a run began from: where they were, or in the
    stage before, as runs move together; None where they are in neither, or it began
    from none."""
    first_weights = recorded_file(run.status().get("weights_in"))
    if not first_weights:
        return None
    before = run.previous and run.previous.final_weights
    for path in (ROOT / first_weights["path"], before):
        if path and path.is_file() and weights.sha256(path) == first_weights["sha256"]:
            return path
    return None


def recorded_file(value: Any) -> dict[str, str] | None:
    """Returns a JSON value that is a `file_record`; None for anything else."""
    keys = ("path", "sha256")
    if isinstance(value, dict) and all(isinstance(value.get(k), str) for k in keys):
        return value
    return None


def solver_record(run: Run) -> Record | None:
    """Returns the record of the solver that a run was trained with, by what its last
    session left: the present one's, where no setting differs."""
    if not run.solver.is_file() or not _settings_text(run):
        return made_with(run)["solver"]
    return _record(run.solver, _without(_last_solver(run), IRRELEVANT))


def _is_same(record: Record, run: Run, source: Path) -> bool:
    """Tells whether recorded weights are the stage before's, in `source`: as it is now,
    or as it was where the runs were then.

    run: that began from them.
    """
    if source.is_file() and weights.sha256(source) == record["sha256"]:
        return True
    return _is_at_home(record, run, source)


def _is_at_home(record: Record, run: Run, source: Path) -> bool:
    """Tells whether recorded weights were in `source`, or in what it was where the runs
    were then."""
    if record["path"] == relative(source):
        return True
    chosen = any(word.startswith("--w") for word in run.status().get("command", ()))
    if chosen or not source.is_relative_to(run.root):
        return False
    below = source.relative_to(run.root).parts
    return Path(record["path"]).parts[-len(below) :] == below


def _file_changes(run: Run, status: dict) -> Iterator[str]:
    """Yields what has changed of a run's solver and network."""
    for kind, now in made_with(run).items():
        before = recorded_file(status.get(kind))
        if not before or not now or before["sha256"] == now["sha256"]:
            continue
        values = _settings_text(run) if kind == "solver" else _data_text(status, now)
        if not values:
            then, digest = (record["sha256"][:SHOWN] for record in (before, now))
            values = f"sha256 {then} then, {digest} now"
        yield f"its {kind} {now['path']} has changed since ({values})"


def _data_text(status: dict, now: Record) -> str:
    """Returns what a network reads now and read then, where that differs; else ""."""
    reads = data_of(ROOT / now["path"])
    read = status.get("data", reads)
    if read == reads:
        return ""
    then, data = (", ".join(sources) or "none" for sources in (read, reads))
    return f"the data {then} then, {data} now"


def _settings_text(run: Run) -> str:
    """Returns the settings that a solver has now and had in a run's last session, where
    they differ; "" where that is not known."""
    try:
        before = _last_solver(run)
    except UserError:
        return ""
    before, after = (
        {
            field.name: value
            for field, value in _without(solver, (*IRRELEVANT, *COMPLETED)).ListFields()
        }
        for solver in (before, network.read_solver(run.solver))
    )
    return ", ".join(
        f"{name} {_value_text(before.get(name))} then, {_value_text(after.get(name))}"
        " now"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _last_solver(run: Run) -> caffe_pb2.SolverParameter:
    """Returns the solver of a run's last session, with the stage's network where it
    trained a part of that. Raises UserError where it cannot be read."""
    solver = network.read_solver(run.effective_solver)
    if run.macro_layer is not None:
        solver.net = network.read_solver(run.solver).net
    return solver


def _value_text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if isinstance(value, str | int) else str(list(value))


def _weights_change(run: Run, status: dict, source: Path | None) -> str | None:
    if source is None or "weights_in" not in status or not source.is_file():
        return None
    where = relative(source)
    before = recorded_file(status["weights_in"])
    if status["weights_in"] is None:
        return f"it began from no weights, not from {where}"
    if before is None:
        return None
    now = weights.sha256(source)
    if before["sha256"] == now:
        return None
    if not _is_at_home(before, run, source):
        return f"it began from {before['path']}, not from {where}"
    return (
        f"the weights {where} that it began from have changed since (sha256"
        f" {before['sha256'][:SHOWN]} then, {now[:SHOWN]} now)"
    )


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
