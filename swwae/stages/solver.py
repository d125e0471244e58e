"""The effective solver: as generated, with what the command line and the run decide."""

from caffe.proto import caffe_pb2

from swwae.base.project import relative
from swwae.runs.run import Run
from swwae.stages import snapshots
from swwae.stages.request import DEFAULT_SEED

DISPLAYS = 10
"""Of the losses, at least: one that is not finite must be seen (ours)."""


def seed_of(solver: caffe_pb2.SolverParameter, requested: int | None) -> int:
    """Returns the requested seed; else the solver's, if it has one; else ours."""
    if requested is not None:
        return requested
    return solver.random_seed if solver.random_seed >= 0 else DEFAULT_SEED


def complete(
    solver: caffe_pb2.SolverParameter, run: Run, target: int, seed: int, gpu: bool
) -> None:
    """Fills in what the command line and the run's folder decide.

    target: iterations in all; gpu: whether it trains on one or more.
    """
    solver.max_iter = target
    solver.display = display_interval(solver.display, target)
    solver.random_seed = seed
    solver.solver_mode = solver.GPU if gpu else solver.CPU
    solver.snapshot_prefix = relative(run.folder / snapshots.PREFIX)
    solver.snapshot_format = solver.BINARYPROTO
    solver.snapshot_after_train = True


def display_interval(wanted: int, iterations: int) -> int:
    """Returns every how many iterations losses are displayed, DISPLAYS times or more.

    An interval that divides the iterations is taken if one is near: Caffe then displays
    the loss after the last update too. wanted: 0 where the solver displays none.
    """
    most = max(1, iterations // DISPLAYS)
    most = min(wanted, most) if wanted else most
    near = range(most, most // 2, -1)
    return next((interval for interval in near if iterations % interval == 0), most)
