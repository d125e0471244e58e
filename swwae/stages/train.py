"""Stages 0, 2, 3 and 4: `caffe train` on a stage's network, from where it was left."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe.proto import caffe_pb2

from generator import recipe
from generator.errors import UserError
from swwae.base.files import require_file
from swwae.base.project import CAFFE, ROOT, relative
from swwae.base.settings import MATH, MATH_SETTING, require_settings
from swwae.base.tables import print_summary
from swwae.engine import devices
from swwae.nets import data_layers, network
from swwae.runs.run import STAGES, Run
from swwae.stages import parts, snapshots, solver
from swwae.stages.request import Request
from swwae.stages.reruns import is_done, resume_point
from swwae.stages.session import Plan, Session
from swwae.stages.sources import (
    require_databases,
    require_network,
    require_room,
    require_source,
    source_weights,
    starting_layers,
)
from swwae.stages.status import (
    add_history,
    new_status,
    parameter_counts,
    weight_rows,
)


def train(run: Run, request: Request) -> int:
    """Trains until the stage's iterations are done, from where it was left.

    Returns the exit code: 0 where it is finished, now or before. Raises UserError where
    something that it needs is missing, unfit or out of date.
    """
    work = to_do(run, request)
    if work is None:
        return 0
    source, settings, target = work.source, work.settings, work.target
    net_path, net = work.net_path, work.net
    if run.macro_layer is None:
        parts.refuse_parts(run, request)
    else:
        parts.refuse_whole(run, request.command)
        whole, whole_path = net, net_path
        net = parts.write_network(run, net, net_path)
        net_path = run.part_network
        settings.net = relative(net_path)
    math = chosen_math(request.math, net)
    require_databases(net, net_path)
    shapes, comparison = starting_layers(
        run, net, net_path, source, chosen=request.weights is not None
    )
    if run.macro_layer is not None:
        parts.require_independent(run, whole, whole_path, settings, shapes, comparison)
    gpus, device = devices.choose(CAFFE, request.gpus)
    require_math(request, gpus, device)
    start = None
    if not request.force:
        start = resume_point(run, request, source, shapes)
    seed = solver.seed_of(settings, request.seed)
    if start is not None:
        seed = run.status().get("seed", seed)
    status = new_status(run, request.command, seed, device, source)
    status |= parameter_counts(comparison, shapes)
    solver.complete(settings, run, target, seed, bool(gpus))
    batch = data_layers.batch_size(net) or 0
    plan = Plan(
        solver=settings,
        target=target,
        start=start,
        source=source,
        comparison=comparison,
        shapes=shapes,
        gpus=gpus,
        math=math,
        driver=devices.driver() if gpus else None,
        batch=batch,
        keep=request.keep,
        command=request.command,
    )
    announce(run, plan, net_path, device)
    if start is None:
        empty(run, everything=request.force)
    else:
        add_history(status, run.status(), start, trains=start < target)
        snapshots.settle(run.folder, start)
        snapshots.remove_after(run.folder, start)
        snapshots.remove_unfinished(run.folder)
    if (start or 0) < target:
        require_room(run.folder, shapes)
    return Session(run, plan, status).carry_out()


@dataclass(frozen=True)
class Work:
    """What a stage is trained from, and how far. net: what `net_path` holds."""

    source: Path | None
    settings: caffe_pb2.SolverParameter
    target: int
    net_path: Path
    net: caffe_pb2.NetParameter


def to_do(run: Run, request: Request) -> Work | None:
    """Returns what there is to train; None, which is said, where a stage is finished.

    Raises UserError where a file is missing or unfit.
    """
    source = source_weights(run, request.weights)
    require_file(run.solver, "solver", run.generator_command)
    settings = network.read_solver(run.solver)
    target = request.max_iter or settings.max_iter
    if not request.force and is_done(run, request, source, target):
        return None
    require_source(run, source)
    net_path = ROOT / settings.net
    return Work(source, settings, target, net_path, require_network(run, net_path))


def chosen_math(asked: str | None, net: caffe_pb2.NetParameter) -> str:
    """Returns what a GPU computes with: what is asked for, else what the environment
    says, else what the network does.

    Raises UserError where the environment says something else than what is asked for,
    or nothing that there is.
    """
    require_settings()
    given = os.environ.get(MATH_SETTING)
    if asked and given and asked != given:
        raise UserError(
            f"--math {asked}: {MATH_SETTING} is {given} in the environment; leave one"
            " of them out."
        )
    own = "tf32" if net.gpu_math == caffe_pb2.NetParameter.TF32 else "fp32"
    return asked or given or own


def require_math(request: Request, gpus: Sequence[int], device: str) -> None:
    """Raises UserError where a CPU is to compute with what GPUs alone can.

    gpus: that it trains on; device: in words.
    """
    if not gpus and request.math not in (None, MATH[0]):
        raise UserError(
            f"--math {request.math}: this would train on the {device}, which computes"
            f" in {MATH[0]} alone; leave --math out."
        )


def announce(run: Run, plan: Plan, net_path: Path, device: str) -> None:
    """Prints what a session is about to do. device: in words."""
    images = f" of {plan.images} images" if plan.images else ""
    if plan.images > plan.batch:
        images += f" ({plan.batch}"
        if plan.solver.iter_size > 1:
            images += f" x iter_size {plan.solver.iter_size}"
        if len(plan.gpus) > 1:
            images += f" x {len(plan.gpus)} GPUs"
        images += ")"
    rows = [
        ("network", relative(net_path)),
        ("solver", f"{relative(run.solver)}: {plan.target:,} iterations{images}"),
    ]
    if plan.start is not None:
        rows.append(("resumes", f"from the snapshot of iteration {plan.start:,}"))
    else:
        source = "none" if plan.source is None else relative(plan.source)
        rows.append(("weights", source))
        kept = recipe.STAGES[run.stage].fixed_encoder and run.macro_layer is None
        rows += weight_rows(plan.comparison, plan.shapes, kept)
    rows.append(("device", device))
    if plan.gpus:
        rows.append(("math", plan.math))
    rows.append(("log", relative(run.log)))
    print_summary(f"{run.title}: {STAGES[run.stage]}", rows)


def empty(run: Run, everything: bool) -> None:
    """Empties a run's folder, but for the lock that is held and a part's network.

    everything: also what no session of a stage leaves there.
    """
    ours = {path.name for path in (run.log, run.effective_solver, run.status_file)}
    for path in run.folder.iterdir():
        if path.name == ".lock" or path == run.part_network:
            continue
        if not everything and not (
            path.name in ours or path.name.startswith(snapshots.PREFIX)
        ):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
