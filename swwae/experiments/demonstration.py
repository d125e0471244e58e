"""What tools/demo.sh measures of the runs that it has made: four models, and the two
decoders from every depth.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from generator.errors import UserError
from generator.small_networks import find_network
from swwae.base.tables import columns
from swwae.evaluation.evaluate import evaluation
from swwae.evaluation.model import Model
from swwae.runs.run import Run

AUGMENTED = ("sae-all", "swwae-all")

Row = dict
"""The keys of `Evaluation.run`'s result, and "model"."""

PROCESSES = 2
"""At a time, of one thread each: the networks are too small for two threads."""


@dataclass(frozen=True)
class DemoEvaluation:
    """A row of the demo's table. model: its name there; depth: that is decoded from."""

    model: str
    run: Run
    depth: int | None = None

    def check_finished(self) -> None:
        """Raises UserError where the run is not finished."""
        if not self.run.is_finished():
            raise UserError(
                f"{self.run.title} is not finished; run tools/demo.sh, or"
                f" {self.run.command}"
            )

    def measure(self, limit: int | None = None) -> Row:
        """Evaluates the model. limit: how many test images, None for all."""
        run = self.run
        model = Model(run.net, run.variant, self.depth, run.final_weights)
        return {"model": self.model, **evaluation(model, "val", limit=limit).run()}


def demo_evaluations(net: str) -> list[DemoEvaluation]:
    """Returns the rows of the demo's table, in order."""
    depths = range(find_network(net).depth, 0, -1)
    return [
        DemoEvaluation("baseline", Run(net, "baseline", 0)),
        DemoEvaluation("baseline, finetuned", Run(net, "baseline", 4)),
        *(
            DemoEvaluation(variant, Run(net, variant, 4), depth)
            for variant in AUGMENTED
            for depth in depths
        ),
    ]


def measure_all(
    evaluations: Sequence[DemoEvaluation],
    limit: int | None,
    progress: Callable[[int], None],
) -> list[Row]:
    """Evaluates models in processes of their own; returns the rows in their order.

    limit: as in `measure`. progress: is called with the number of those that are done.
    """
    rows: dict[int, Row] = {}
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        futures = {
            pool.submit(evaluation.measure, limit): index
            for index, evaluation in enumerate(evaluations)
        }
        for future in as_completed(futures):
            rows[futures[future]] = future.result()
            progress(len(rows))
    return [rows[index] for index in range(len(evaluations))]


def demo_table(rows: Sequence[Row], depths: Sequence[int]) -> str:
    """Returns errors of the models, and the reconstructions' L2 by depth, for a
    person."""
    lines = [["", "top-1 error", "top-5 error", *(f"L2 from {d}" for d in depths)]]
    for model in dict.fromkeys(row["model"] for row in rows):
        by_depth = {row["depth"]: row for row in rows if row["model"] == model}
        first = next(iter(by_depth.values()))
        errors = [f"{first['top1_error']:.2f} %", f"{first['top5_error']:.2f} %"]
        distances = [
            f"{by_depth[depth]['recon_l2']:.2f}" if depth in by_depth else "-"
            for depth in depths
        ]
        lines.append([model, *errors, *distances])
    return columns(lines)
