"""What running a stage again does: nothing, going on from a snapshot, starting over."""

from pathlib import Path

from generator.errors import UserError
from swwae.base.project import relative
from swwae.nets import weights
from swwae.runs.run import Run
from swwae.stages import snapshots
from swwae.stages.changes import refuse_another_stages, refuse_changes
from swwae.stages.request import Request


def is_done(
    run: Run, request: Request, source: Path | None, target: int | None
) -> bool:
    """Returns whether a stage is finished, and says so.

    source: the weights that it would start from now; target: iterations in all, None
    for stage 1, which has none. Raises UserError where what it was made with has
    changed since, or is not what is asked for.
    """
    if not run.is_finished():
        return False
    refuse_changes(run, source, request.command, request.seed)
    done = run.status()["iterations"]
    if target is not None and done < target:
        print(f"{run.title} has done {done:,} of now {target:,} iterations")
        return False
    iterations = f", {done:,} iterations" if target else ""
    print(
        f"{run.title} is finished{iterations}: {relative(run.final_weights)}"
        " (--force starts it over)"
    )
    return True


def resume_point(
    run: Run, request: Request, source: Path | None, shapes: weights.Shapes
) -> int | None:
    """Returns the iteration of the snapshot to go on from; None to start over.

    Says which snapshots cannot be used, and why. shapes: of the network's parameters;
    source: as for `is_done`. Raises UserError where what the run began with has changed
    since or is not what is asked for, and where starting over would lose what another
    network, or a finished training, has left.
    """
    command = request.command
    if snapshots.iterations(run.folder):
        refuse_changes(run, source, command, request.seed)
    try:
        start, skipped = snapshots.newest_whole(run.folder, shapes)
    except snapshots.Foreign as error:
        raise UserError(
            f"{run.title} cannot go on: {error}; move it away, or replace all with"
            f" {command} --force"
        ) from None
    for fault in skipped:
        print(fault)
    if start is None:
        refuse_loss(run, command)
        if run.status():
            print(f"{run.title} has no snapshot to go on from: it starts over")
    return start


def refuse_loss(run: Run, command: str) -> None:
    """Raises UserError where a stage that has to start over would replace final
    weights, or another stage's run.

    command: that goes on with the stage.
    """
    refuse_another_stages(run, command)
    if run.final_weights.is_file():
        raise UserError(
            f"{run.title} cannot go on, and starting over would replace"
            f" {relative(run.final_weights)}: move that away, or start over with"
            f" {command} --force"
        )
