"""The plan of tools/reproduce.sh: which models are trained for Table 1, Figure A-3's
table and classification with few labels at the scale of Fashion-MNIST, how, and what is
measured of them.

Every seed has runs of its own in <out>/seed<S>/<net>/…. Within a seed the classifier of
stage 0 is shared by all, stages 1 and 2 by a family's variants (Section 4.1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from generator.derived import base_lr_text, epochs_text, few_labels_name
from generator.small_networks import BUILT_IN
from generator.variants import find_variant
from swwae.experiments.jobs import Job
from swwae.experiments.measurements import NET, Measurement, Model
from swwae.experiments.tables import CONTROL
from swwae.experiments.training_jobs import (
    evaluation_job,
    training_job,
    training_name,
)
from swwae.runs.run import Run

FULL = f"{NET}_long"
"""NET with longer stages, for all labels."""

EPOCHS = {0: 12.0, 2: 1.0, 3: 0.5, 4: 3.0}
"""Of FULL's stages (ours): stage 0 ends where the test error no longer falls."""

BASE_LR = {2: 2.5e-5}
"""A quarter of NET's (ours): after stage 0's 12 epochs a macro-layer's activations have
several times the energy, and a decoder diverges at a rate as many times smaller."""

FEW_LABELS_EPOCHS = {0: 1.0, 2: 0.5, 3: 0.4, 4: 1.0}
"""In units of all 60,000 images (ours)."""

FEW_LABELS_BASE_LR = {2: 2e-5, 3: 5e-3, 4: 0.02}
"""Ours, by trial: few images, seen often, make for large activations, and small rates
of the decoders; stage 4 learns as stage 0 does, for at a quarter of that nothing
came of the decoder."""

FEWEST_LABELS, FEWEST_LABELS_RATE = 100, 1e-5
"""Up to so many labels, stage 2 has this rate: at 2e-5 one of six decoders died."""

VARIANTS = tuple(
    f"{family}-{kind}"
    for family in ("sae", "swwae")
    for kind in ("first", "all", "layerwise")
)

FEW_LABELS_VARIANTS = ("sae-all", "swwae-all")

LABELS = (100, 500, 1000, 5000)

SCHEMES = ("single-crop", "convolution")

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Reproduction:
    """Everything that one command runs.

    out: folder of the runs; seeds: 1 to this number; labels: numbers of them, () for
    none; limit: iterations of every stage, for a trial; None: the whole. epochs,
    base_lr: by stage, of all labels' network; {}: its own. gpus: numbers of those that
    the jobs run on in turn. net: a built-in network; of another one than NET there are
    no tables of few labels, whose rates are NET's.
    """

    out: Path
    seeds: int
    labels: Sequence[int] = LABELS
    limit: int | None = None
    variants: Sequence[str] = VARIANTS
    few_labels_variants: Sequence[str] = FEW_LABELS_VARIANTS
    epochs: dict[int, float] = field(default_factory=lambda: dict(EPOCHS))
    base_lr: dict[int, float] = field(default_factory=lambda: dict(BASE_LR))
    gpus: Sequence[int] = ()
    net: str = NET

    @property
    def full(self) -> str:
        """The name of the network with all labels."""
        return f"{self.net}_long"

    # --- networks, databases, models

    def generator_arguments(self) -> Iterator[list[str]]:
        """Yields the generator's arguments, a network at a time."""
        full = ["--name", self.full]
        full += ["--epochs", epochs_text(self.epochs)] if self.epochs else []
        full += ["--base-lr", base_lr_text(self.base_lr)] if self.base_lr else []
        yield [self.net, *full, "--depth", "all"]
        few = ["--epochs", epochs_text(FEW_LABELS_EPOCHS)]
        for labels, seed in self._few_labels_sets():
            chosen = ["--labels", str(labels), "--labels-seed", str(seed)]
            rates = base_lr_text(few_labels_base_lr(labels))
            yield [self.net, *chosen, *few, "--base-lr", rates]

    def few_labels_arguments(self) -> Iterator[list[str]]:
        """Yields data/few_labels.py's arguments, a database at a time."""
        for labels, seed in self._few_labels_sets():
            yield ["--labels", str(labels), "--seed", str(seed)]

    def _few_labels_sets(self) -> Iterator[tuple[int, int]]:
        """Numbers of labels, and the seeds that they are drawn by."""
        for labels in self.labels:
            for seed in self._seeds:
                yield labels, seed

    @property
    def _seeds(self) -> range:
        return range(1, self.seeds + 1)

    def root(self, seed: int) -> Path:
        """Returns the folder of a seed's runs."""
        return self.out / f"seed{seed}"

    def table_models(self) -> list[Model]:
        """Returns Table 1's models, by row, then seed."""
        rows = [("baseline", "baseline", 0), (CONTROL, "baseline", 4)]
        rows += [(variant, variant, 4) for variant in self.variants]
        return [
            self._model(name, self.full, variant, stage, seed)
            for name, variant, stage in rows
            for seed in self._seeds
        ]

    def few_labels_models(self) -> list[Model]:
        """Returns the models with few labels: by their number, then row, then seed."""
        rows = [("baseline", "baseline", 0), (CONTROL, "baseline", 4)]
        rows += [(variant, variant, 4) for variant in self.few_labels_variants]
        return [
            self._model(
                name, self._few_net(labels, seed), variant, stage, seed, labels=labels
            )
            for labels in self.labels
            for name, variant, stage in rows
            for seed in self._seeds
        ]

    def _model(
        self,
        name: str,
        net: str,
        variant: str,
        stage: int,
        seed: int,
        labels: int | None = None,
        depth: int | None = None,
    ) -> Model:
        root = self.root(seed)
        return Model(
            *(name, net, variant, stage, seed, root, labels, depth, self.limit),
            made_of=self.net,
        )

    def _few_net(self, labels: int, seed: int) -> str:
        return few_labels_name(BUILT_IN[self.net], labels, seed)

    def pretrained_models(self) -> list[Model]:
        """Returns stage 3's models: stacked decoders before the encoder is trained."""
        deepest = BUILT_IN[self.net].depth
        return [
            self._model(
                f"{variant}, pretrained", self.full, variant, 3, seed, depth=depth
            )
            for variant in self.variants
            if find_variant(variant).stacked
            for depth in (
                [deepest] if find_variant(variant).all_losses else range(1, deepest + 1)
            )
            for seed in self._seeds
        ]

    def measurements(self) -> list[Measurement]:
        """Returns every result that the tables take, a seed after the other."""
        deepest = BUILT_IN[self.net].depth
        found = [
            Measurement(
                model,
                scheme,
                split,
                deepest if has_reconstructions(model, scheme) else None,
            )
            for model in self.table_models()
            for scheme in SCHEMES
            for split in SPLITS
        ]
        found += [
            Measurement(model, "single-crop", "val", model.depth)
            for model in self.pretrained_models()
        ]
        found += [
            Measurement(model, "single-crop", "val", depth)
            for model in self.table_models()
            if find_variant(model.variant).stacked
            for depth in range(1, deepest)
        ]
        found += [
            Measurement(model, "single-crop", split)
            for model in self.few_labels_models()
            for split in SPLITS
        ]
        return sorted(found, key=lambda measurement: measurement.model.seed)

    def warnings(self) -> list[str]:
        """Returns what trainings have warned of so far, the first stages first."""
        found: dict[str, str] = {}
        for measured in dict.fromkeys(m.model.run for m in self.measurements()):
            stages = [measured]
            while (source := self._source(stages[-1])) is not None:
                stages.append(source)
            for run in reversed(stages):
                if warning := run.status().get("warning"):
                    found[training_name(run)] = warning
        return [f"{name}: {warning}" for name, warning in found.items()]

    # --- jobs

    @cached_property
    def jobs(self) -> list[Job]:
        """Trainings, then what is measured of them; what others need comes first.

        The networks must have been generated. Raises UserError as Run does.
        """
        found: dict[str, Job] = {}
        for measurement in self.measurements():
            model = measurement.model
            self._add_training(found, model.run, model.seed)
            job = self._evaluation(measurement)
            found[job.name] = job
        return list(found.values())

    def _add_training(self, found: dict[str, Job], run: Run, seed: int) -> None:
        source = self._source(run)
        if source is not None:
            self._add_training(found, source, seed)
        job = training_job(run, source, seed, self.limit, gpus=self.gpus)
        found.setdefault(job.name, job)

    @staticmethod
    def _source(run: Run) -> Run | None:
        """Returns the run that one starts from: stage 2 is shared by all depths,
        too."""
        if run.depth is not None and run.stage == 3:
            return Run(run.net, run.variant, 2, None, run.root)
        return run.previous

    def _evaluation(self, measurement: Measurement) -> Job:
        return evaluation_job(
            measurement.model.run,
            lambda: measurement.find() is not None,
            measurement.scheme,
            measurement.split,
            measurement.images,
            measurement.depth,
            drawn=self.limit is not None,
            gpus=self.gpus,
        )


def few_labels_base_lr(labels: int) -> dict[int, float]:
    """Returns learning rates by stage, for a number of labels."""
    if labels <= FEWEST_LABELS:
        return FEW_LABELS_BASE_LR | {2: FEWEST_LABELS_RATE}
    return FEW_LABELS_BASE_LR


def has_reconstructions(model: Model, scheme: str) -> bool:
    """Returns whether a result of the model has the reconstructions' error."""
    return find_variant(model.variant).has_decoder and scheme == "single-crop"
