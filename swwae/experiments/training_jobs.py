"""Stages and evaluations as jobs: what tools/reproduce.py and tools/compare_engines.py
run. Every job computes with one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

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
    gpus: Sequence[int] = (),
) -> Job:
    """Returns the job of a stage that starts from the final weights of `source`.

    limit: of its iterations, in a trial. environment: of the command, besides what
    every job has. build: the fork that it must be trained with
    (`provenance.versions`), None for any. gpus: as in Job, for a stage that trains.
    Raises UserError where the stage's solver has not been generated.
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
    must_restart = partial(_is_outdated, run, source, build)
    return Job(
        training_name(run),
        command,
        is_done=lambda: is_trained(run, seed, iterations) and not must_restart(),
        log=run.root / "logs" / f"{_file_name(run)}.log",
        needs=() if source is None else (training_name(source),),
        cost=_iteration_cost(run) * max(1, iterations),
        environment=_environment(run, environment),
        progress=lambda: min(1.0, _current_iteration(run) / max(1, iterations)),
        restart_options=("--force",),
        must_restart=must_restart,
        gpus=() if run.stage == 1 else gpus,
    )


def _iteration_cost(run: Run) -> float:
    if run.stage != 4:
        return COSTS[run.stage]
    return JOINT_COSTS[run.variant.rpartition("-")[2]]


def _is_outdated(run: Run, source: Run | None, build: str | None) -> bool:
    """Tells whether it was begun with another build, other files, or other weights than
    now. (Another seed's, or another stage's, it is not ours to replace: the stage
    refuses to go on.)"""
    status = run.status()
    if status and build and status.get("versions", {}).get("fork") != build:
        return True
    return bool(changes.out_of_date(run, source and source.final_weights))


def evaluation_job(
    run: Run,
    is_done: Callable[[], bool],
    scheme: str,
    split: str,
    images: int,
    depth: int | None = None,
    drawn: bool = False,
    environment: Mapping[str, str] | None = None,
    gpus: Sequence[int] = (),
) -> Job:
    """Returns the job of tools/evaluate.py on a run, recorded beside its weights.

    is_done: whether there is such a result. images: how many; drawn: whether by
    --images. depth: that is decoded from, None for the default. environment, gpus: as
    in `training_job`.
    """
    command = ["tools/evaluate.py", "--net", run.net, "--variant", run.variant]
    described = "" if depth is None else f", from {depth}"
    if depth is not None:
        command += ["--depth", str(depth)]
    command += ["--weights", relative(run.final_weights)]
    command += ["--scheme", scheme, "--split", split]
    if drawn:
        command += ["--images", str(images)]
    title = f"{scheme}, {split}{described}"
    file_name = f"{_file_name(run)}-{title.replace(', ', '-').replace(' ', '')}"
    return Job(
        f"{training_name(run)}: {title}",
        command,
        is_done,
        log=run.root / "logs" / f"{file_name}.log",
        needs=(training_name(run),),
        cost=EVALUATION_COST * images,
        environment=_environment(run, environment),
        gpus=gpus,
    )


def iterations_of(run: Run, limit: int | None = None) -> int:
    """Returns how many iterations a stage trains; 0 of stage 1.

    limit: at most, in a trial. Raises UserError where there is no solver yet.
    """
    if run.stage == 1:
        return 0
    iterations = network.read_solver(run.solver).max_iter
    return min(limit, iterations) if limit else iterations


def is_trained(run: Run, seed: int, iterations: int) -> bool:
    """Returns whether a stage is finished, with this seed.

    iterations: that it must have done at least.
    """
    status = run.status()
    return (
        run.is_finished()
        and status.get("seed") == seed
        and status["iterations"] >= iterations
    )


def training_name(run: Run) -> str:
    """Returns the name of a stage's job: vgg8_long/swwae-all stage 4 (seed1)."""
    return f"{run.place} stage {run.stage} ({run.root.name})"


def _file_name(run: Run) -> str:
    """Returns how the names of its jobs' logs begin."""
    return f"{run.place.replace('/', '-')}-stage{run.stage}"


def _environment(run: Run, added: Mapping[str, str] | None) -> dict[str, str]:
    every_job = {"RUNS_DIR": relative(run.root), "OMP_NUM_THREADS": "1"}
    return every_job | dict(added or {})


def _current_iteration(run: Run) -> int:
    """Returns how far a running stage has come, by its log."""
    if not run.log.is_file():
        return 0
    iterations, _ = read_log(run.log).loss
    return int(iterations[-1]) if len(iterations) else 0
