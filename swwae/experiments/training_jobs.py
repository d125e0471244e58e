"""Stages and evaluations as jobs: what tools/reproduce.py and tools/compare_engines.py
run. Every job computes with one thread.
"""

from collections.abc import Callable, Mapping

from generator.errors import UserError
from swwae.base.project import relative
from swwae.engine.log import read_log
from swwae.experiments.jobs import Job
from swwae.nets import network
from swwae.runs.run import Run
from swwae.stages import changes

COSTS = {0: 1.0, 1: 20.0, 2: 1.6, 3: 1.2}
"""Of an iteration of stages 0, 2 and 3, and of stage 1 as a whole, about."""


JOINT_COSTS = {
    "baseline": 1.0,
    "first": 2.4,
    "all": 2.8,
    "layerwise": 2.8,
    "ladder": 2.8,
}
"""Of an iteration of stage 4, by the kind of variant."""


EVALUATION_COST = 0.005
"""Of an image."""


def training_job(
    run: Run,
    source: Run | None,
    seed: int,
    limit: int | None = None,
    environment: Mapping[str, str] | None = None,
    build: str | None = None,
) -> Job:
    """A stage, from the final weights of `source`; its networks must be generated.

    limit: of its iterations, in a trial. environment: of the command, besides what
    every job has. build: the fork that it must be trained with
    (`provenance.versions`), None for any.
    """
    command = ["tools/run_stage.sh", str(run.stage), "--net", run.net]
    command += ["--variant", run.variant, "--seed", str(seed)]
    if run.depth is not None:
        command += ["--depth", str(run.depth)]
    if source is not None and source != run.previous:
        command += ["--weights", relative(source.final_weights)]
    iterations = iterations_of(run, limit)
    if limit and iterations:
        command += ["--max-iter", str(iterations)]
    kind = run.variant.rpartition("-")[2]
    each = JOINT_COSTS[kind] if run.stage == 4 else COSTS[run.stage]

    def is_stale() -> bool:
        """Whether it was begun with another seed, build, files, or weights than now."""
        status = run.status()
        if status and status.get("seed") != seed:
            return True
        if status and build and status.get("versions", {}).get("fork") != build:
            return True
        try:
            changes.refuse_changes(run, source and source.final_weights, "")
        except UserError:
            return True
        return False

    return Job(
        training_name(run),
        command,
        lambda: is_trained(run, seed, iterations) and not is_stale(),
        run.root / "logs" / f"{_place(run)}.log",
        () if source is None else (training_name(source),),
        each * max(1, iterations),
        _environment(run, environment),
        lambda: min(1.0, _iteration(run) / max(1, iterations)),
        ("--force",),
        is_stale,
    )


def evaluation_job(
    run: Run,
    is_done: Callable[[], bool],
    scheme: str,
    split: str,
    images: int,
    depth: int | None = None,
    drawn: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Job:
    """What tools/evaluate.py says of a run, recorded beside its weights.

    images: how many; drawn: whether by --images. depth: that is decoded from, None for
    the default. environment: as in `training_job`.
    """
    command = ["tools/evaluate.py", "--net", run.net, "--variant", run.variant]
    described = "" if depth is None else f", from {depth}"
    if depth is not None:
        command += ["--depth", str(depth)]
    command += ["--weights", relative(run.final_weights)]
    command += ["--scheme", scheme, "--split", split]
    if drawn:
        command += ["--images", str(images)]
    what = f"{scheme}, {split}{described}"
    log = f"{_place(run)}-{what.replace(', ', '-').replace(' ', '')}.log"
    return Job(
        f"{training_name(run)}: {what}",
        command,
        is_done,
        run.root / "logs" / log,
        (training_name(run),),
        EVALUATION_COST * images,
        _environment(run, environment),
    )


def iterations_of(run: Run, limit: int | None = None) -> int:
    """That a stage trains; UserError where its solver has not been generated."""
    if run.stage == 1:
        return 0
    iterations = network.read_solver(run.solver).max_iter
    return min(limit, iterations) if limit else iterations


def is_trained(run: Run, seed: int, iterations: int) -> bool:
    """Whether a stage is finished, with this seed and at least so many iterations."""
    status = run.status()
    return (
        run.is_finished()
        and status.get("seed") == seed
        and status["iterations"] >= iterations
    )


def training_name(run: Run) -> str:
    """vgg8_long/swwae-all stage 4 (seed1): short, and no other run's."""
    return f"{run.place} stage {run.stage} ({run.root.name})"


def _place(run: Run) -> str:
    """How the names of its jobs' logs begin."""
    return f"{run.place.replace('/', '-')}-stage{run.stage}"


def _environment(run: Run, more: Mapping[str, str] | None) -> dict[str, str]:
    own = {"RUNS_DIR": relative(run.root), "OMP_NUM_THREADS": "1"}
    return own | dict(more or {})


def _iteration(run: Run) -> int:
    """How far a running stage is, by its log."""
    if not run.log.is_file():
        return 0
    iterations, _ = read_log(run.log).loss
    return int(iterations[-1]) if len(iterations) else 0
