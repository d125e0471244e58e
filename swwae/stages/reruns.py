"""What running a stage again does: nothing, going on from a snapshot, starting over."""

from pathlib import Path

from swwae.base.project import relative
from swwae.nets import weights
from swwae.runs.run import Run
from swwae.stages import snapshots
from swwae.stages.changes import refuse_changes


def is_done(run: Run, command: str, source: Path | None, target: int | None) -> bool:
    """Returns whether a stage is finished, and says so.

    command: that goes on with it; source: the weights that it would start from now;
    target: iterations in all, None for stage 1, which has none. Raises UserError where
    what it was made with has changed since.
    """
    if not run.is_finished():
        return False
    refuse_changes(run, source, command)
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
    run: Run, command: str, source: Path | None, shapes: weights.Shapes
) -> int | None:
    """Returns the iteration of the snapshot to go on from; None to start over.

    Says which snapshots cannot be used, and why. shapes: of the network's parameters;
    the rest as for `is_done`. Raises UserError where what the run began with has
    changed since.
    """
    start, skipped = snapshots.newest_whole(run.folder, shapes)
    for fault in skipped:
        print(fault)
    if start is not None:
        refuse_changes(run, source, command)
    elif run.status():
        print(f"{run.title} has no snapshot to go on from: it starts over")
    return start
