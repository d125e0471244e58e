"""Stages 0, 2, 3 and 4: `caffe train`, begun, resumed, and ended well."""

import argparse
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.variants import find_variant
from swwae.base.files import require_file, whole_file
from swwae.base.program import failure
from swwae.base.project import CAFFE, ROOT, relative
from swwae.base.tables import print_summary
from swwae.engine import devices, process
from swwae.engine.progress import Progress
from swwae.nets import (
    building,
    data_layers,
    network,
    weights,
)
from swwae.runs.run import STAGES, Run
from swwae.stages import activations, snapshots
from swwae.stages.changes import refuse_changes
from swwae.stages.initialise import DEFAULT_SEED
from swwae.stages.sources import (
    check_weights,
    is_done,
    require_databases,
    require_network,
    require_source,
    source_weights,
)
from swwae.stages.status import (
    counts,
    end,
    finish,
    log_results,
    new_status,
    weight_rows,
)

INTERRUPTED = 130


DISPLAYS = 10  # of the losses, at least: one that is not finite must be seen


KEPT_SNAPSHOTS = 2  # while training; the last one stays


PARTIAL = (2, 3)
"""Stages whose networks lack layers that later ones need: those are carried along."""


@dataclass(frozen=True)
class Plan:
    """What a session of training does.

    target: iterations in all; start: the snapshot that it resumes from; images: in an
    iteration, 0 where unknown; again: the command line to go on with.
    """

    solver: caffe_pb2.SolverParameter
    target: int
    start: int | None
    source: Path | None
    comparison: weights.Comparison
    shapes: weights.Shapes
    gpus: list[int]
    images: int
    again: str


def train(stage: Run, options: argparse.Namespace) -> int:
    """Trains until the stage's iterations are done, from where it was left."""
    source = source_weights(stage, options)
    require_file(stage.solver, "solver", stage.generator_command)
    solver = network.read_solver(stage.solver)
    target = options.max_iter or solver.max_iter
    if not options.force and is_done(stage, options, source, target):
        return 0
    require_source(stage, source)
    net_path = ROOT / solver.net
    net = require_network(stage, net_path)
    require_databases(net, net_path)
    incoming = None if source is None else weights.load(source)
    shapes = building.parameter_shapes(net_path)
    if incoming is None:
        comparison = weights.Comparison([], list(shapes), [], [])
    else:
        comparison = weights.compare(shapes, incoming)
        check_weights(stage, net, net_path, source, shapes, incoming, options)
        del incoming  # large, and training takes long
    gpus, device = devices.choose(CAFFE, options.gpu)
    seed = solver.random_seed if solver.random_seed >= 0 else DEFAULT_SEED
    seed = seed if options.seed is None else options.seed
    status = new_status(stage, options, seed, device, source)
    status |= counts(comparison, shapes)
    start = None
    if not options.force:
        start = resume_point(stage, shapes, status, source, options.again)
    set_up(solver, stage, target, seed, gpus)
    images = (data_layers.batch_size(net) or 0) * solver.iter_size * max(1, len(gpus))
    plan = Plan(
        solver=solver,
        target=target,
        start=start,
        source=source,
        comparison=comparison,
        shapes=shapes,
        gpus=gpus,
        images=images,
        again=options.again,
    )
    announce(stage, plan, net_path, device)
    if start is None:
        clear(stage.folder)
    else:
        snapshots.remove_after(stage.folder, start)
    return run_caffe(stage, plan, status)


def resume_point(
    stage: Run,
    shapes: weights.Shapes,
    status: dict[str, Any],
    source: Path | None,
    again: str,
) -> int | None:
    """The iteration to resume from, its history added to the new status.

    Raises UserError where what the run began with has changed since.
    """
    start, skipped = snapshots.newest_whole(stage.folder, shapes)
    for fault in skipped:
        print(fault)
    before = stage.status()
    if start is None:
        if before:
            print(f"{stage.title} has no snapshot to go on from: it starts over")
        return None
    refuse_changes(stage, source, again)
    status["seconds"] = before.get("seconds", 0.0)
    status["peak_memory_bytes"] = before.get("peak_memory_bytes")
    status["started"] = before.get("started", status["started"])
    status["resumed_from"] = [*before.get("resumed_from", []), start]
    return start


def set_up(
    solver: caffe_pb2.SolverParameter,
    stage: Run,
    target: int,
    seed: int,
    gpus: list[int],
) -> None:
    """Fills in what the command line and the run's folder decide."""
    solver.max_iter = target
    solver.display = display_interval(solver.display, target)
    solver.random_seed = seed
    solver.solver_mode = solver.GPU if gpus else solver.CPU
    solver.snapshot_prefix = relative(stage.folder / snapshots.PREFIX)
    solver.snapshot_format = solver.BINARYPROTO
    solver.snapshot_after_train = True


def display_interval(wanted: int, iterations: int) -> int:
    """Every how many iterations losses are displayed, at least DISPLAYS times in all.

    One that divides the iterations is taken if one is near: Caffe then displays the
    loss after the last update too. wanted: 0 where the solver displays none.
    """
    most = max(1, iterations // DISPLAYS)
    most = min(wanted, most) if wanted else most
    near = range(most, most // 2, -1)
    return next((each for each in near if iterations % each == 0), most)


def run_caffe(stage: Run, plan: Plan, status: dict[str, Any]) -> int:
    """Writes the effective solver, trains, and records how it ended."""
    solver_path = stage.folder / "solver.prototxt"
    with whole_file(solver_path, "w") as file:
        file.write(text_format.MessageToString(plan.solver))
    command = [relative(CAFFE), "train", f"--solver={relative(solver_path)}"]
    if plan.start is not None:
        state = snapshots.solver_state(stage.folder, plan.start)
        command.append(f"--snapshot={relative(state)}")
    elif plan.source is not None:
        command.append(f"--weights={relative(plan.source)}")
    if plan.gpus:
        command.append(f"--gpu={','.join(map(str, plan.gpus))}")
    status |= {
        "state": "running",
        "caffe_command": command,
        "iterations": plan.start or 0,
        "max_iter": plan.target,
    }
    stage.write_status(status)

    def snapshotted(path: Path) -> None:
        if path.suffix == snapshots.SOLVER_STATE:
            snapshots.prune(stage.folder, KEPT_SNAPSHOTS)
            status["iterations"] = snapshots.iterations(stage.folder)[0]
            stage.write_status(status)

    outcome = process.Outcome()
    if plan.start is None or plan.start < plan.target:
        progress = Progress(stage.title, plan.target, plan.images or None)
        outcome = process.train(command, stage.log, progress, snapshotted)
    status["seconds"] = round(status["seconds"] + outcome.seconds, 3)
    peaks = (status["peak_memory_bytes"], outcome.peak_memory)
    status["peak_memory_bytes"] = max(filter(None, peaks), default=None)
    status |= log_results(stage.log)
    if outcome.not_finite:
        name, value, iteration = outcome.not_finite
        loss = "total loss" if name == "total loss" else f"loss {name}"
        fault = f"the {loss} is {value} at iteration {iteration:,}."
        good = outcome.last if outcome.last is not None else plan.start
        return stop_not_finite(stage, plan, status, fault, good)
    done, _ = snapshots.newest_whole(stage.folder, plan.shapes)
    status["iterations"] = done or 0
    session = status["iterations"] - (plan.start or 0)
    if outcome.seconds and session > 0:
        status["iterations_per_second"] = round(session / outcome.seconds, 4)
    newest = max(snapshots.iterations(stage.folder), default=None)
    if newest != done:
        layer = snapshots.layer_not_finite(stage.folder, newest)
        if layer is not None:
            fault = (
                f"the weights of layer {layer} are no longer finite after iteration"
                f" {newest:,}."
            )
            return stop_not_finite(stage, plan, status, fault, done)
    if outcome.stopped:
        end(stage, status, "interrupted")
        print(
            f"stopped at iteration {status['iterations']:,} of {plan.target:,};"
            f" go on with {plan.again}"
        )
        return INTERRUPTED
    fault = fault_of(stage, outcome)
    if fault is None and status["iterations"] < plan.target:
        fault = f"the last snapshot is not whole ({free_space(stage.folder)})."
    if fault is not None:
        end(stage, status, "failed", fault)
        return failure(f"{fault} Go on with {plan.again}")
    hand_on(stage, plan, status["iterations"])
    note_ruins(stage, plan, status)
    finish(stage, status, status["iterations"])
    return 0


def hand_on(stage: Run, plan: Plan, iteration: int) -> None:
    """Makes final.caffemodel from the last snapshot."""
    last = snapshots.weights_file(stage.folder, iteration)
    if stage.stage in PARTIAL:  # and without a ladder's second copies
        final = weights.load(last)
        incoming = weights.load(plan.source)
        weights.copy_layers(incoming, final, plan.comparison.unused)
        weights.save(final, stage.final_weights)
    elif find_variant(stage.variant).ladder:
        weights.save(weights.load(last), stage.final_weights)
    else:
        with last.open("rb") as snapshot, whole_file(stage.final_weights) as file:
            shutil.copyfileobj(snapshot, file)
    snapshots.prune(stage.folder, keep=1)


def note_ruins(stage: Run, plan: Plan, status: dict[str, Any]) -> None:
    """Records what training did to activations and decoders; says what it ruined."""
    try:
        findings = activations.examine(
            ROOT / plan.solver.net,
            stage.final_weights,
            plan.source if stage.stage == 4 else None,
        )
    except UserError as error:
        print(f"whether training ruined anything is not known: {error}")
        return
    if findings.activations:
        status["activations"] = findings.activations
    status["warning"] = findings.warning
    if status["warning"]:
        print(f"warning: {status['warning']}")


def stop_not_finite(
    stage: Run, plan: Plan, status: dict[str, Any], fault: str, good: int | None
) -> int:
    """Ends a run that has left the numbers; keeps its snapshots up to the good one."""
    snapshots.remove_after(stage.folder, -1 if good is None else good)
    left = snapshots.iterations(stage.folder)
    status["iterations"] = left[0] if left else 0
    end(stage, status, "failed", fault)
    return failure(
        f"{fault} Lower base_lr ({plan.solver.base_lr:g}) in {relative(stage.solver)},"
        f" or a loss's weight, and start over: {plan.again} --force"
    )


def fault_of(stage: Run, outcome: process.Outcome) -> str | None:
    """Why Caffe ended before its time, a sentence; None where it did not."""
    if outcome.code == 0:
        return None
    log = f"The log is {relative(stage.log)}."
    if outcome.fatal:
        space = ""
        if "SerializeToOstream" in outcome.fatal:
            space = f" ({free_space(stage.folder)})"
        return f"Caffe stopped: {outcome.fatal.strip()}{space}. {log}"
    if outcome.code == -signal.SIGKILL:
        return (
            "caffe was killed, as is done when memory runs out: free some, or halve"
            f" batch_size, double iter_size and start over with --force. {log}"
        )
    if outcome.code < 0:
        return f"caffe died of {signal.Signals(-outcome.code).name}. {log}"
    return f"caffe ended with exit code {outcome.code}. {log}"


def free_space(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    return f"is the disk full? {free / 1e6:,.1f} MB are free"


def announce(stage: Run, plan: Plan, net_path: Path, device: str) -> None:
    each = f" of {plan.images} images" if plan.images else ""
    rows = [
        ("network", relative(net_path)),
        ("solver", f"{relative(stage.solver)}: {plan.target:,} iterations{each}"),
    ]
    if plan.start is not None:
        rows.append(("resumes", f"from the snapshot of iteration {plan.start:,}"))
    else:
        source = "none" if plan.source is None else relative(plan.source)
        rows.append(("weights", source))
        rows += weight_rows(plan.comparison, plan.shapes, stage.stage in PARTIAL)
    if len(plan.gpus) > 1:
        device += f", each with its own batch: {plan.images} images an iteration"
    rows += [("device", device), ("log", relative(stage.log))]
    print_summary(f"{stage.title}: {STAGES[stage.stage]}", rows)


def clear(folder: Path) -> None:
    """Empties a run's folder, but for the lock that is held."""
    for path in folder.iterdir():
        if path.name == ".lock":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
