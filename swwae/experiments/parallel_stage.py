"""Stage 2 by several trainings at a time, one for each macro-layer's decoder.

The decoders are independent of one another (Section 4.1), so that each is trained by a
run of its own, `tools/run_stage.sh 2 --macro-layer N`, with what it needs of the
network. Together they leave the stage's weights, log and status as one training would.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.names import noisy
from swwae.base.files import whole_file
from swwae.base.processes import cores
from swwae.base.program import INTERRUPTED, failure
from swwae.base.progress import duration
from swwae.base.project import CAFFE, relative
from swwae.base.tables import columns, print_summary
from swwae.engine import devices, merged_log
from swwae.engine.log import latest, read_log
from swwae.experiments.jobs import Job, Schedule, ScheduleResult
from swwae.nets import building, data_layers, weights
from swwae.nets.cost import step_cost
from swwae.runs.run import LAYERWISE, STAGES, Run
from swwae.stages import parts, solver, train
from swwae.stages.changes import refuse_changes
from swwae.stages.request import Request
from swwae.stages.reruns import refuse_loss
from swwae.stages.session import diagnose
from swwae.stages.sources import (
    require_databases,
    starting_layers,
)
from swwae.stages.status import (
    Status,
    log_results,
    new_status,
    parameter_counts,
    record_end,
    record_finish,
    weight_rows,
)

THREADS = "OMP_NUM_THREADS"
"""What a job's number of threads is called in the environment."""

HEAD = ("macro-layer", "state", "iteration", "it/s", "left", "loss")


@dataclass(frozen=True)
class Plan:
    """How a stage is trained in parts.

    net_path, net: of the stage. settings: its effective solver. source: the weights
    that it starts from; comparison, shapes: of those with the network, and of its
    parameters. parts: all of them, in the order in which they are begun. costs: of
    each, operations in a step. gpus: that the jobs take in turn; none for the CPU.
    at_a_time: how many of the jobs run. threads: of each job.
    """

    net_path: Path
    net: caffe_pb2.NetParameter
    settings: caffe_pb2.SolverParameter
    source: Path
    comparison: weights.Comparison
    shapes: weights.Shapes
    parts: Sequence[Run]
    costs: Mapping[Run, int]
    gpus: Sequence[int]
    at_a_time: int
    threads: int

    @property
    def target(self) -> int:
        """Returns the iterations of every part."""
        return self.settings.max_iter


def train_in_parts(run: Run, request: Request, at_a_time: int | None) -> int:
    """Trains the decoder of every macro-layer by itself, and makes the stage of them.

    run: the stage, which is held. at_a_time: trainings; None for one a GPU or core.
    Returns the exit code: 0 where the stage is finished, now or before. Raises
    UserError where something that it needs is missing, unfit or out of date, or where
    the stage cannot be trained in parts with the same result.
    """
    if run.stage != LAYERWISE:
        raise UserError(
            f"--parallel is for stage {LAYERWISE}, whose decoders are independent of"
            f" each other; {run.title} is trained as a whole."
        )
    work = train.to_do(run, request)
    if work is None:
        return 0
    source, settings, target = work.source, work.settings, work.target
    net_path, net = work.net_path, work.net
    require_databases(net, net_path)
    shapes, comparison = starting_layers(
        run, net, net_path, source, chosen=request.weights is not None
    )
    parts.require_independent(run, net, net_path, settings, shapes, comparison)
    gpus, device = devices.choose(CAFFE, request.gpus)
    if len(gpus) > 1:
        device = f"one of {device}"
    train.require_math(request, gpus, device)
    seed = solver.seed_of(settings, request.seed)
    parts.refuse_running(run)
    before: Status = {}
    if request.force:
        train.empty(run, everything=True)
    else:
        before = run.status()
        seed = _require_same_parts(run, request, source, seed)
    solver.complete(settings, run, target, seed, bool(gpus))
    costs = _costs(parts.parts_of(run, net), net, net_path, shapes)
    at_a_time = min(at_a_time or len(gpus) or cores(), len(costs))
    plan = Plan(
        net_path=net_path,
        net=net,
        settings=settings,
        source=source,
        comparison=comparison,
        shapes=shapes,
        parts=sorted(costs, key=costs.__getitem__, reverse=True),
        costs=costs,
        gpus=gpus,
        at_a_time=at_a_time,
        threads=_threads(at_a_time),
    )
    _announce(run, plan, device)
    status = new_status(run, request.command, seed, device, source)
    status |= parameter_counts(comparison, shapes)
    status |= {"parts": len(costs), "threads": plan.threads, "max_iter": target}
    status["started"] = before.get("started", status["started"])
    status["seconds"] = before.get("seconds", 0.0)
    with whole_file(run.effective_solver, "w") as file:
        file.write(text_format.MessageToString(settings))
    schedule = Schedule(
        [_job(part, plan, request, seed) for part in plan.parts],
        plan.at_a_time,
        after_job=partial(_record, run, plan, status),
        table=partial(_table, plan),
    )
    _record(run, plan, status)
    result = schedule.run()
    print("\n".join(_table(plan, schedule.states)), flush=True)
    status["seconds"] = round(status["seconds"] + schedule.seconds, 3)
    return _end(run, plan, status, result, request.command)


# --- before it begins


def _require_same_parts(run: Run, request: Request, source: Path, seed: int) -> int:
    """Returns the seed of the parts that have been begun; `seed` where none has.

    Raises UserError where the stage was begun as a whole, and where a part was made
    with something else than there is now, or is asked for.
    """
    parts.refuse_whole(run, request.command)
    begun = run.begun_parts()
    if not begun:
        refuse_loss(run, request.command)
        return seed
    if request.seed is None:
        seed = begun[0].status().get("seed", seed)
    for part in begun:
        refuse_changes(part, source, request.command, seed)
    return seed


def _costs(
    found: Sequence[Run],
    net: caffe_pb2.NetParameter,
    net_path: Path,
    shapes: weights.Shapes,
) -> dict[Run, int]:
    """Returns the floating-point operations of a step of each part."""
    blobs = building.blob_shapes(net_path)
    parameters = {**shapes, **{noisy(name): each for name, each in shapes.items()}}
    costs = {}
    for part in found:
        needed = caffe_pb2.NetParameter()
        layers = parts.network_of(part, net).layer
        needed.layer.extend(filter(data_layers.in_training, layers))
        costs[part] = step_cost(needed, blobs, parameters).total
    return costs


def _threads(at_a_time: int) -> int:
    """Returns a job's number: as the environment says, or its share of the cores."""
    given = os.environ.get(THREADS, "")
    if given.isdecimal() and int(given):
        return int(given)
    return max(1, cores() // at_a_time)


def _announce(run: Run, plan: Plan, device: str) -> None:
    count = len(plan.parts)
    running = min(count, plan.at_a_time)
    threads = f"{plan.threads} thread{'s' * (plan.threads > 1)}"
    print_summary(
        f"{run.title}: {STAGES[run.stage]}, each by itself",
        [
            ("network", relative(plan.net_path)),
            ("solver", f"{relative(run.solver)}: {plan.target:,} iterations"),
            ("weights", relative(plan.source)),
            *weight_rows(plan.comparison, plan.shapes, kept=True),
            ("device", device),
            (
                "jobs",
                f"{count}, {running} at a time, {threads} each",
            ),
            ("logs", f"{relative(run.folder)}/macro-layer-*/train.log"),
        ],
    )


def _job(part: Run, plan: Plan, request: Request, seed: int) -> Job:
    """Returns the job that trains a part."""
    command = ["tools/run_stage.sh", str(part.stage), "--net", part.net]
    command += ["--variant", part.variant, "--macro-layer", str(part.macro_layer)]
    command += ["--seed", str(seed), "--keep", str(request.keep)]
    if part.depth is not None:
        command += ["--depth", str(part.depth)]
    if request.weights is not None:
        command += ["--weights", str(plan.source)]
    if request.max_iter is not None:
        command += ["--max-iter", str(request.max_iter)]
    if request.math is not None:
        command += ["--math", request.math]
    return Job(
        _name(part),
        command,
        is_done=lambda: part.is_finished() and _done(part) >= plan.target,
        log=part.folder.with_suffix(".log"),
        cost=float(plan.costs[part] * plan.target),
        environment={"RUNS_DIR": relative(part.root), THREADS: str(plan.threads)},
        progress=lambda: min(1.0, _reached(part) / plan.target),
        gpus=plan.gpus,
    )


# --- while it trains


def _name(part: Run) -> str:
    return f"macro-layer {part.macro_layer}"


def _done(part: Run) -> int:
    """Returns the iterations that a part has saved."""
    return part.status().get("iterations", 0)


def _reached(part: Run) -> int:
    """Returns the iteration that a part's log displayed last."""
    last = latest(part.log)
    return 0 if last is None else last.iteration


def _table(plan: Plan, states: Mapping[str, str]) -> list[str]:
    """Returns the lines of a table with all parts, macro-layer 1 first.

    states: of the jobs, by name.
    """
    rows = [HEAD]
    for part in sorted(plan.parts, key=lambda each: each.macro_layer):
        state = states[_name(part)]
        last = latest(part.log)
        reached = 0 if last is None else last.iteration
        done = plan.target if state == "finished" else reached
        rate = last.rate if last is not None and state == "running" else None
        rows.append(
            (
                str(part.macro_layer),
                state,
                f"{done:,}/{plan.target:,}",
                f"{rate:.3g}" if rate else "-",
                duration((plan.target - reached) / rate) if rate else "-",
                "-" if last is None else f"{last.loss:.4g}",
            )
        )
    return columns(rows, "<<>>>>", indent="  ").split("\n")


def _record(run: Run, plan: Plan, status: Status) -> None:
    """Writes how far all parts have come."""
    status["iterations"] = min(map(_done, plan.parts))
    run.write_status(status)


# --- when all trainings have ended


def _end(
    run: Run, plan: Plan, status: Status, result: ScheduleResult, command: str
) -> int:
    """Makes the stage's log and weights of its parts'; returns the exit code.

    command: that goes on with the stage.
    """
    logs = [read_log(part.log) for part in plan.parts if part.log.is_file()]
    if len(logs) == len(plan.parts):
        heading = f"merged of {relative(run.folder)}/macro-layer-*/train.log"
        with whole_file(run.log, "w") as file:
            file.writelines(
                f"{line}\n"
                for line in merged_log.lines(merged_log.merged(logs), heading)
            )
        status |= log_results(run.log)
    if records := [gpu for part in plan.parts if (gpu := part.status().get("gpu"))]:
        cards = {card["number"]: card for gpu in records for card in gpu["cards"]}
        status["gpu"] = records[0] | {"cards": [cards[n] for n in sorted(cards)]}
    status["iterations"] = min(map(_done, plan.parts))
    if result.interrupted:
        record_end(run, status, "interrupted")
        print(
            f"stopped at iteration {status['iterations']:,} of {plan.target:,}; go on"
            f" with {command}"
        )
        return INTERRUPTED
    if fault := _fault(plan, result):
        record_end(run, status, "failed", fault)
        return failure(f"{fault} Go on with {command}")
    parts.write_final_weights(
        run, plan.parts, plan.net_path, plan.source, plan.comparison
    )
    diagnose(run, plan.net_path, None, status)
    record_finish(run, status, status["iterations"])
    return 0


def _fault(plan: Plan, result: ScheduleResult) -> str | None:
    """Returns why the stage cannot be made of its parts yet; None where it can."""
    if result.failed:
        return (
            f"{len(result.failed)} of {len(plan.parts)} jobs failed"
            f" ({', '.join(result.failed)}): mend what is said above."
        )
    most = max(map(_done, plan.parts))
    if most > plan.target:
        ahead = next(part for part in plan.parts if _done(part) == most)
        return (
            f"{_name(ahead)} has done {most:,} iterations already, and this asks for"
            f" {plan.target:,}: give --max-iter {most}."
        )
    for part in plan.parts:
        recorded = part.status().get("weights_out") or {}
        if recorded.get("sha256") != weights.sha256(part.final_weights):
            return (
                f"{relative(part.final_weights)} is not what its training left: remove"
                " it, and it is made again of the last snapshot."
            )
    return None
