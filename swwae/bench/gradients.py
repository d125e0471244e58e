"""Whether a card computes what the CPU does: outputs and every layer's gradients.

Of each network one process computes the reference on the CPU; the card has a process a
math, which builds one network after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from generator.errors import UserError
from swwae.base.files import require_file
from swwae.bench.comparison import Difference
from swwae.bench.contender import Contender
from swwae.bench.gpu_rounds import Results
from swwae.bench.gpu_setup import Compared, prepare_compared
from swwae.bench.job import Job, Refused
from swwae.bench.maths import MATHS
from swwae.bench.rounds import Progress
from swwae.bench.worker import Worker
from swwae.runs.run import Run
from swwae.stages.sources import require_network

PARTS = ("outputs", "gradients")


@dataclass(frozen=True)
class Outcome:
    """How far a card's results of a network lie from the CPU's, the switches being the
    same. math: of `maths.MATHS`. differences: of PARTS."""

    run: Run
    math: str
    differences: dict[str, Difference]

    @property
    def holds(self) -> bool:
        """Returns whether all are within the math's bound."""
        bound = MATHS[self.math].bound
        return all(self.differences[part].l2 <= bound for part in PARTS)


def compare_gradients(
    runs: Sequence[Run],
    maths: Sequence[str],
    *,
    gpu: int,
    images: int | None,
    threads: int,
    seed: int,
    progress: Progress,
) -> Iterator[Outcome]:
    """Yields what is found, network by network and in each of the maths.

    gpu: the card's number. images: a batch; None: `gpu_setup.few_images`. threads: of
    the CPU. seed: of pixels and labels. progress: is called with what is being done.
    Raises UserError where Caffe refuses a network, or a process dies.
    """
    workers: dict[str, Worker] = {}
    try:
        for run in runs:
            with TemporaryDirectory(prefix="gradients-") as name:
                folder = Path(name)
                progress(f"{run.title}: computing on the CPU")
                require_file(run.solver, "solver", run.generator_command)
                compared = prepare_compared(
                    run,
                    require_network(run, run.network),
                    folder,
                    gpu=gpu,
                    images=images,
                    threads=threads,
                    initial_weights=None,
                    seed=seed,
                )
                results = Results(compared.outputs, folder)
                if not workers:  # beside the first reference
                    workers |= _started(maths, compared)
                results.compute_reference(compared.reference)
                for math, worker in workers.items():
                    job = replace(compared.on_card, math=math)
                    yield Outcome(run, math, _differences(worker, job, results, run))
    finally:
        for worker in workers.values():
            worker.close()


def _started(maths: Sequence[str], compared: Compared) -> dict[str, Worker]:
    jobs = {math: replace(compared.on_card, math=math) for math in maths}
    return {
        math: Worker(job, f"cuDNN {math}", wait=False) for math, job in jobs.items()
    }


def _differences(
    worker: Worker, job: Job, results: Results, run: Run
) -> dict[str, Difference]:
    one = Contender(f"cuDNN {job.math}", 0, job, job)
    try:
        worker.ready()
        worker.ask(build=job.to_json())
        results.compare(worker, one)
    except Refused as error:
        raise UserError(f"{run.title}, {one.name}: {error}.") from error
    return one.differences
