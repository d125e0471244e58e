"""The plan of tools/compare_engines.py: the same seeds through every stage with each of
two engines, and the quantities that these trainings end with.

A seed and an engine have runs of their own in <out>/seed<S>-<engine>/<net>/…. All
networks are evaluated with one engine, the stock one: it is training that is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from generator.derived import epochs_text
from generator.errors import UserError
from generator.names import RECONSTRUCTION
from generator.small_networks import find_network
from generator.variants import find_variant
from swwae.base import provenance
from swwae.base.project import BUILD_COMMAND, CAFFE, ROOT, relative
from swwae.base.settings import MATH_SETTING
from swwae.evaluation import results
from swwae.experiments.jobs import Job
from swwae.experiments.paired_tests import Values
from swwae.experiments.training_jobs import evaluation_job, iterations_of, training_job
from swwae.nets import network
from swwae.runs.run import Run
from swwae.stages import sources

ENGINES = {
    "CAFFE": {"CAFFE_ENGINE": "CAFFE"},
    "DNNL": {"CAFFE_ENGINE": "DNNL", "CAFFE_DNNL_WINOGRAD": "1"},
    "DIRECT": {"CAFFE_ENGINE": "DNNL", "CAFFE_DNNL_WINOGRAD": "0"},
    "GPU": {MATH_SETTING: "fp32"},
    "GPU-TF32": {MATH_SETTING: "tf32"},
}
"""Name -> the environment of its trainings (fork/README.md)."""

OF_ONEDNN = ("DNNL", "DIRECT")

OF_GPUS = ("GPU", "GPU-TF32")

ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": ""}
"""In the environment of every job but the trainings of OF_GPUS."""

ONEDNN_LIBRARY = b"libdnnl"
"""What a Caffe with oneDNN is linked with."""

EVALUATION_ENGINE = "CAFFE"

EPOCHS = {0: 1.0, 2: 0.25, 3: 0.25, 4: 0.35}
"""Half of vgg8's own, nearly (ours): one or two minutes a seed and engine."""

SCHEME, SPLIT = "single-crop", "val"

CLASSIFICATION = "loss"
"""The blob of the classification loss in every built-in network."""

Row = dict
"""What a seed and engine end with: seed, engine, seconds of training, and quantities by
name."""

FIRST_ERROR = "stage 0: top-1 error in %"
ERROR = "stage 4: top-1 error in %"
CLASSIFICATION_LOSS = "stage 4: classification loss"
RECONSTRUCTION_LOSS = "stage 4: reconstruction losses"


@dataclass(frozen=True)
class EngineComparison:
    """Everything that one command runs.

    out: folder of the runs; net: a built-in network, which is trained under another
    name for other epochs by stage; engines: two of ENGINES; seeds: 1 to this number;
    gpus: numbers of those that the trainings of OF_GPUS have in turn.
    Raises UserError for a network or variant that there is not.
    """

    out: Path
    net: str
    variant: str
    engines: tuple[str, str]
    seeds: int
    epochs: dict[int, float] = field(default_factory=lambda: dict(EPOCHS))
    gpus: Sequence[int] = ()

    def __post_init__(self) -> None:
        find_network(self.net)
        find_variant(self.variant)

    @property
    def name(self) -> str:
        """The name of the network that is trained."""
        return f"{self.net}_engines"

    @property
    def title(self) -> str:
        return f"{self.name} {self.variant}"

    def generator_arguments(self) -> list[str]:
        epochs = epochs_text(self.epochs)
        return [self.net, "--name", self.name, "--epochs", epochs]

    def root(self, seed: int, engine: str) -> Path:
        """Returns the folder of the runs of a seed and engine."""
        return self.out / f"seed{seed}-{engine.lower()}"

    def chain(self, seed: int, engine: str) -> list[Run]:
        """Returns the stages that end in stage 4, stage 0 first."""
        stages = [Run(self.name, self.variant, 4, None, self.root(seed, engine))]
        while (before := stages[0].previous) is not None:
            stages.insert(0, before)
        return stages

    def _chains(self) -> dict[tuple[int, str], list[Run]]:
        return {
            (seed, engine): self.chain(seed, engine)
            for seed in range(1, self.seeds + 1)
            for engine in self.engines
        }

    # --- checks

    def check_build(self) -> None:
        """Raises UserError where the build lacks an engine of the CPU's."""
        if not set(OF_ONEDNN).intersection(self.engines):
            return
        built = list((CAFFE.parents[1] / "lib").glob("libcaffe.so*"))
        if built and not any(ONEDNN_LIBRARY in path.read_bytes() for path in built):
            raise UserError(
                "this Caffe was built without oneDNN, so CAFFE is all it has: run"
                f" {BUILD_COMMAND}, which says why if it finds none."
            )

    def check_data(self) -> None:
        """Raises UserError where the images are missing; networks must be there."""
        for stage in self.chain(1, self.engines[0]):
            if stage.stage != 1:
                path = ROOT / network.read_solver(stage.solver).net
                sources.require_databases(network.read(path), path)

    def check_difference(self) -> None:
        """Raises UserError where trainings of both engines ended with the very same
        weights: then one engine has done both."""
        first, second = self.engines
        for seed in range(1, self.seeds + 1):
            both = [self.chain(seed, engine)[-1] for engine in (first, second)]
            one, other = (results.checksum_of(run.final_weights) for run in both)
            if one == other:
                raise UserError(
                    f"{both[0].title} of seed {seed} ended with the same weights bit"
                    f" for bit with {first} and {second}, so they are one engine here"
                    " (DNNL and DIRECT are, without AVX-512, GPU and GPU-TF32 below"
                    " compute capability 8.0): there is nothing to compare."
                )

    def training_lengths(self) -> dict[int, str]:
        """Returns in words how long each stage trains, without those that do not."""
        return {
            stage.stage: f"{iterations_of(stage):,} iterations,"
            f" {self.epochs.get(stage.stage, 0):g} epochs"
            for stage in self.chain(1, self.engines[0])
            if stage.stage != 1
        }

    # --- jobs

    @cached_property
    def jobs(self) -> list[Job]:
        """Trainings, then evaluations, a seed after the other.

        The networks must have been generated. Raises UserError as Run does.
        """
        build = provenance.versions(CAFFE)["fork"]
        jobs: list[Job] = []
        for (seed, engine), chain in self._chains().items():
            source = None
            on_gpus = engine in OF_GPUS
            for stage in chain:
                jobs.append(
                    training_job(
                        stage,
                        source,
                        seed,
                        environment=ENGINES[engine] | ({} if on_gpus else ON_THE_CPU),
                        build=build,
                        gpus=self.gpus if on_gpus else (),
                    )
                )
                source = stage
            jobs += [self._evaluation(stage) for stage in (chain[0], chain[-1])]
        return jobs

    def _evaluation(self, stage: Run) -> Job:
        return evaluation_job(
            stage,
            lambda: full_evaluation(stage) is not None,
            SCHEME,
            SPLIT,
            find_network(self.net).data.test_images,
            environment=ENGINES[EVALUATION_ENGINE] | ON_THE_CPU,
        )

    # --- results

    def rows(self) -> list[Row]:
        """Returns a row a seed and engine; all must have been run.

        Raises UserError as `quantities_of`.
        """
        return [
            {
                "seed": seed,
                "engine": engine,
                "seconds": round(sum(s.status()["seconds"] for s in chain), 1),
                **quantities_of(chain[0], chain[-1]),
            }
            for (seed, engine), chain in self._chains().items()
        ]

    def quantities(self, rows: list[Row]) -> dict[str, tuple[Values, Values]]:
        """Returns name -> the two engines' values, in the order of the seeds."""
        names = [n for n in rows[0] if n not in ("seed", "engine", "seconds")]
        first, second = (
            [row for row in rows if row["engine"] == engine] for engine in self.engines
        )
        return {n: ([r[n] for r in first], [r[n] for r in second]) for n in names}

    def cards(self) -> dict[str, Any]:
        """Returns what the runs' status says of GPUs, of each engine that has one."""
        found = {
            engine: self.chain(1, engine)[-1].status().get("gpu")
            for engine in self.engines
        }
        return {engine: record for engine, record in found.items() if record}

    def warnings(self) -> list[str]:
        """Returns what trainings have warned of."""
        return [
            f"{run.title} ({run.root.name}): {warning}"
            for chain in self._chains().values()
            for run in chain
            if (warning := run.status().get("warning"))
        ]


def full_evaluation(run: Run) -> dict | None:
    """Returns the known result of all validation images; None without one."""
    for result in results.known(run):
        kind = (result["scheme"], result["split"], result["seed"])
        if kind == (SCHEME, SPLIT, None):
            return result
    return None


def quantities_of(first: Run, last: Run) -> dict[str, float]:
    """Returns quantities by name, of stages 0 and 4; lower is better in all.

    Raises UserError where one is missing, or not finite.
    """
    quantities = {
        FIRST_ERROR: full_evaluation(first)["top1_error"],
        ERROR: full_evaluation(last)["top1_error"],
    }
    status = last.status()
    tested = status.get("test_outputs", {})
    trained = status.get("final_losses", {})
    quantities[CLASSIFICATION_LOSS] = _test_loss(last, tested, trained, CLASSIFICATION)
    losses = [name for name in trained if name.startswith(RECONSTRUCTION)]
    if losses:
        quantities[RECONSTRUCTION_LOSS] = sum(
            _test_loss(last, tested, trained, name) for name in losses
        )
    return quantities


def _test_loss(run: Run, tested: Mapping, trained: Mapping, name: str) -> float:
    """Returns a loss of the last test, which Caffe takes behind the last update,
    weighted."""
    try:
        at, value = tested[name]["iteration"], tested[name]["value"]
        weight = trained[name]["weight"]
    except KeyError:
        at, value, weight = None, "", 1.0
    if at != run.status()["iterations"] or not isinstance(value, float):
        raise UserError(
            f"{relative(run.log)} has no finite {name} of a test behind the last"
            f" iteration: start over with {run.command} --force"
        )
    return weight * value
