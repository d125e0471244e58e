"""Measures the sides of a comparison on a card: results once, then steps in turn."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.bench.comparison import differences
from swwae.bench.contender import Contender
from swwae.bench.gpu_setup import GpuComparison
from swwae.bench.job import Job, Refused
from swwae.bench.memory import available_memory
from swwae.bench.rounds import WARM_UP, Progress, Rounds
from swwae.bench.worker import Worker

PROCESS_BYTES = 3 << 30
"""Of the machine's memory that a process may need: PyTorch's libraries, and weights."""


def measure_on_gpu(
    comparison: GpuComparison,
    folder: Path,
    *,
    maths: Sequence[str],
    rounds: int,
    seconds: float,
    layers: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Compares results, then times steps; the contenders keep what is found.

    Returns "caffe" and "torch" -> what each says of the card and its own versions, the
    latter with the card's "rates"; without those that did not run. folder: for what is
    written meanwhile. maths: whose rates are measured. rounds, seconds, layers,
    progress: as of `rounds.measure`. Raises UserError where the reference is refused.
    """
    results = Results(comparison.outputs, folder)
    turns = GpuRounds(comparison, results, maths, progress)
    try:
        turns.start()
        sides = (c for c in comparison.contenders if not c.refused)
        if comparison.reference is not None and not all(c.job.compiled for c in sides):
            progress(f"computing {comparison.compared} images on the CPU, to compare")
            results.compute_reference(comparison.reference)
        turns.warm_up(seconds)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            turns.round(number)
        if layers:
            progress("timing layers")
            turns.layers()
    finally:
        turns.close()
        results.remove()
    return turns.described


class Results:
    """The CPU's results of a pass, and how much others differ from them.

    outputs: blobs that are compared. folder: where files are written meanwhile.
    """

    def __init__(self, outputs: Sequence[str], folder: Path) -> None:
        self._outputs = list(outputs)
        self._expected = folder / "reference.npz"
        self._found = folder / "found.npz"
        self._values = folder / "values.npz"

    def compute_reference(self, job: Job) -> None:
        """Computes them. Raises UserError where the process dies or refuses."""
        try:
            worker = Worker(job, "CAFFE on the CPU")
            try:
                self._ask(worker, self._expected, save=str(self._values))
            finally:
                worker.close()
        except Refused as error:
            raise UserError(f"CAFFE on the CPU: {error}") from error

    def compare(self, worker: Worker, contender: Contender) -> None:
        """Sets `differences` of the contender whose network the worker has.

        Caffe computes with the reference's switches, and its gradients from the
        reference's values; PyTorch with its own.
        """
        more = {}
        if contender.compared.kind == "caffe":
            more["given"] = str(self._values)
        self._ask(worker, self._found, **more)
        contender.differences = differences(self._expected, self._found)

    def remove(self) -> None:
        """Removes what was written."""
        for path in (self._expected, self._found, self._values):
            path.unlink(missing_ok=True)

    def _ask(self, worker: Worker, path: Path, **more: str) -> None:
        worker.ask(compare=str(path), blobs=self._outputs, disturbance=0, **more)


class GpuRounds(Rounds):
    """Rounds on a card. A side whose process dies is left out from then on, and its
    `died` is set; the others go on."""

    def __init__(
        self,
        comparison: GpuComparison,
        results: Results,
        maths: Sequence[str],
        progress: Progress,
    ) -> None:
        super().__init__(comparison.contenders, progress)
        self.described: dict[str, Any] = {}
        self._results = results if comparison.reference is not None else None
        self._maths = list(maths)
        self._built: set[int] = set()
        self._free = 0

    def start(self) -> None:
        """Starts all processes at once, as far as memory goes: to import libraries
        takes longer than a turn."""
        room = max(1, available_memory() // PROCESS_BYTES)
        for contender in self._contenders[:room]:
            self._process(contender)

    def warm_up(self, seconds: float) -> None:
        """As of `Rounds`, once all processes that were started have chosen the card:
        what one of them takes of its memory is measured while the others are quiet."""
        for contender in list(self._contenders):
            worker = self._running.get(id(contender))
            if worker is not None:
                try:
                    with dying(contender):
                        _make_ready(contender, worker)
                except Refused as error:
                    self._drop(contender, error)
        super().warm_up(seconds)

    def layers(self) -> None:
        for contender in list(self._contenders):
            if contender.job.kind != "caffe":
                continue
            with suppress(Refused):  # its steps were timed all the same
                with dying(contender):
                    answer = self._worker(contender).ask(layers=contender.count)
                contender.layers = answer["milliseconds"]
            if not self.kept:
                self.close()

    def close(self) -> None:
        super().close()
        self._built.clear()

    def _turn(self, contender: Contender, count: int) -> list[float]:
        with dying(contender):
            return super()._turn(contender, count)

    def _drop(self, contender: Contender, error: Refused) -> None:
        super()._drop(contender, error)
        worker = self._running.pop(id(contender), None)
        if worker is not None:
            worker.close()
        self._progress(f"{contender.title}: {error}")

    def _note(self, contender: Contender, answer: Mapping[str, Any]) -> None:
        super()._note(contender, answer)
        contender.allocated = answer.get("allocated")
        self._free = answer["free"]

    def _available(self) -> int:
        return self._free

    def _process(self, contender: Contender) -> Worker:
        """Returns the contender's process, which may not be ready yet."""
        worker = self._running.get(id(contender))
        if worker is None:
            worker = Worker(contender.job, contender.title, wait=False)
            self._running[id(contender)] = worker
        return worker

    def _worker(self, contender: Contender) -> Worker:
        worker = self._process(contender)
        if id(contender) not in self._built:
            _make_ready(contender, worker)
            self._compare(contender, worker)
            worker.ask(build=contender.job.to_json())
            library = "caffe" if contender.job.kind == "caffe" else "torch"
            if library not in self.described:
                self.described[library] = worker.ask(describe=self._maths)
            self._progress(f"{contender.title}: first steps")
            worker.ask(steps=WARM_UP)
            self._built.add(id(contender))
        return worker

    def _compare(self, contender: Contender, worker: Worker) -> None:
        """Compares results where these are not known: ours of each math, and of
        PyTorch's sides of a math the first, which differ in how they compute alone."""
        if self._results is None or contender.job.compiled or contender.differences:
            return
        library, math = contender.job.kind == "caffe", contender.job.math
        for other in self._contenders:
            same = (other.job.kind == "caffe", other.job.math) == (library, math)
            if same and other.differences:
                if other.name == contender.name:  # of another batch size
                    contender.differences = other.differences
                return
        self._progress(f"{contender.name}: comparing results")
        worker.ask(build=contender.compared.to_json())
        self._results.compare(worker, contender)


def _make_ready(contender: Contender, worker: Worker) -> None:
    """Waits until a process has chosen the card. That it cannot is a fault, but of a
    PyTorch that nobody named."""
    try:
        worker.ready()
    except Refused:
        contender.died = contender.job.kind == "caffe" or bool(contender.job.python)
        raise


@contextmanager
def dying(contender: Contender) -> Iterator[None]:
    """Raises Refused, and notes that the contender died, where its process does."""
    try:
        yield
    except UserError as error:
        contender.died = True
        raise Refused(str(error).rstrip(".")) from error
