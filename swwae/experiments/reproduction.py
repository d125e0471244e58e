"""What tools/reproduce.sh runs: Table 1 and Figure A-3's table at the scale of
Fashion-MNIST, and classification with few labels.

Every seed has runs of its own in <out>/seed<S>/<net>/…. Within a seed the classifier of
stage 0 is shared by all, stages 1 and 2 by a family's variants (Section 4.1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from generator.derived import base_lr_text, epochs_text, few_labels_name
from generator.networks import NETWORKS
from generator.paper import TABLE_1_TRAIN_IMAGES
from swwae.evaluation import results
from swwae.experiments.jobs import Job
from swwae.experiments.tables import CONTROL
from swwae.experiments.training_jobs import (
    evaluation_job,
    is_trained,
    iterations_of,
    training_job,
    training_name,
)
from swwae.runs.run import Run

NET = "vgg8"


FULL = "vgg8_long"
"""The same network with longer stages, for all labels."""


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


FAMILIES = ("sae", "swwae")


KINDS = ("first", "all", "layerwise")


VARIANTS = tuple(f"{family}-{kind}" for family in FAMILIES for kind in KINDS)


FEW_LABELS_VARIANTS = ("sae-all", "swwae-all")


LABELS = (100, 500, 1000, 5000)


SCHEMES = ("single-crop", "convolution")


SPLITS = ("train", "val")


TRIAL_IMAGES = 500
"""That a trial is evaluated on."""


@dataclass(frozen=True)
class Model:
    """A trained network of the tables. labels: how many it was given; None: all.

    stage: whose weights these are. limit: its iterations at most, in a trial.
    """

    name: str
    net: str
    variant: str
    stage: int
    seed: int
    root: Path
    labels: int | None = None
    depth: int | None = None
    limit: int | None = None

    @property
    def run(self) -> Run:
        return Run(self.net, self.variant, self.stage, self.depth, self.root)

    @property
    def is_trained(self) -> bool:
        """As long as it is to be, with its own seed."""
        return is_trained(self.run, self.seed, iterations_of(self.run, self.limit))


@dataclass(frozen=True)
class Measurement:
    """One result of a model. depth: that is decoded from; None: nothing is asked."""

    model: Model
    scheme: str
    split: str
    depth: int | None = None

    def find(self) -> dict | None:
        """What has been recorded of it: of as many images, and of these weights."""
        if not self.model.is_trained:
            return None
        wanted = (self.scheme, self.split, self.images)
        for result in results.known(self.model.run):
            same = (result["scheme"], result["split"], result["images"]) == wanted
            drawn_so = result["seed"] in (None, 0)
            if same and drawn_so and self.depth in (None, result["depth"]):
                return result
        return None

    @property
    def images(self) -> int:
        """Of a split, or as many as are drawn of it."""
        labels = self.model.labels
        if self.split == "train":
            every = NETWORKS[NET].data.train_images if labels is None else labels
            most = TABLE_1_TRAIN_IMAGES
        else:
            every = most = NETWORKS[NET].data.test_images
        return min(every, TRIAL_IMAGES if self.model.limit else most)

    @property
    def row(self) -> dict:
        """Its row in results.json; the errors are None where it is missing."""
        model = self.model
        found = self.find() or {}
        return {
            "model": model.name,
            "net": model.net,
            "variant": model.variant,
            "stage": model.stage,
            "labels": model.labels,
            "training_seed": model.seed,
            "depth": self.depth,
            "scheme": self.scheme,
            "split": self.split,
            "images": found.get("images"),
            "top1_error": found.get("top1_error"),
            "top5_error": found.get("top5_error"),
            "recon_l2": found.get("recon_l2"),
        }


@dataclass(frozen=True)
class Reproduction:
    """Everything that one command runs.

    out: folder of the runs; seeds: 1 to this number; labels: numbers of them, () for
    none; limit: iterations of every stage, for a trial; None: the whole.
    """

    out: Path
    seeds: int
    labels: Sequence[int] = LABELS
    limit: int | None = None
    variants: Sequence[str] = VARIANTS
    few_labels_variants: Sequence[str] = FEW_LABELS_VARIANTS
    epochs: dict[int, float] = field(default_factory=lambda: dict(EPOCHS))
    base_lr: dict[int, float] = field(default_factory=lambda: dict(BASE_LR))

    # --- what there is

    def generations(self) -> Iterator[list[str]]:
        """The generator's arguments, a line a network."""
        full = ["--name", FULL, "--epochs", epochs_text(self.epochs)]
        full += ["--base-lr", base_lr_text(self.base_lr)]
        yield [NET, *full, "--depth", "all"]
        few = ["--epochs", epochs_text(FEW_LABELS_EPOCHS)]
        for labels, seed in self._few():
            drawn = ["--labels", str(labels), "--labels-seed", str(seed)]
            rates = base_lr_text(few_labels_base_lr(labels))
            yield [NET, *drawn, *few, "--base-lr", rates]

    def draws(self) -> Iterator[list[str]]:
        """data/few_labels.py's arguments, a line a database."""
        for labels, seed in self._few():
            yield ["--labels", str(labels), "--seed", str(seed)]

    def _few(self) -> Iterator[tuple[int, int]]:
        for labels in self.labels:
            for seed in self._seeds:
                yield labels, seed

    @property
    def _seeds(self) -> range:
        return range(1, self.seeds + 1)

    def root(self, seed: int) -> Path:
        return self.out / f"seed{seed}"

    def table_models(self) -> list[Model]:
        """Table 1's, by row, then seed."""
        rows = [("baseline", "baseline", 0), (CONTROL, "baseline", 4)]
        rows += [(variant, variant, 4) for variant in self.variants]
        return [
            self._model(name, FULL, variant, stage, seed)
            for name, variant, stage in rows
            for seed in self._seeds
        ]

    def few_labels_models(self) -> list[Model]:
        """By number of labels, then row, then seed."""
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
        return Model(name, net, variant, stage, seed, root, labels, depth, self.limit)

    @staticmethod
    def _few_net(labels: int, seed: int) -> str:
        return few_labels_name(NETWORKS[NET], labels, seed)

    def pretrained_models(self) -> list[Model]:
        """Stage 3's: the stacked decoders before the encoder is trained with them."""
        deepest = NETWORKS[NET].depth
        return [
            self._model(f"{variant}, pretrained", FULL, variant, 3, seed, depth=depth)
            for variant in self.variants
            if is_stacked(variant)
            for depth in (
                range(1, deepest + 1) if variant.endswith("first") else [deepest]
            )
            for seed in self._seeds
        ]

    def measurements(self) -> list[Measurement]:
        """Every result that the tables take, a seed after the other."""
        deepest = NETWORKS[NET].depth
        found = [
            Measurement(
                model, scheme, split, deepest if decodes(model, scheme) else None
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
            if is_stacked(model.variant)
            for depth in range(1, deepest)
        ]
        found += [
            Measurement(model, "single-crop", split)
            for model in self.few_labels_models()
            for split in SPLITS
        ]
        return sorted(found, key=lambda each: each.model.seed)

    def warnings(self) -> list[str]:
        """What the trainings that there are have warned of, the first stages first."""
        found: dict[str, str] = {}
        for measured in dict.fromkeys(each.model.run for each in self.measurements()):
            line = [measured]
            while (source := self._source(line[-1])) is not None:
                line.append(source)
            for run in reversed(line):
                if warning := run.status().get("warning"):
                    found[training_name(run)] = warning
        return [f"{name}: {warning}" for name, warning in found.items()]

    # --- what is run

    @cached_property
    def jobs(self) -> list[Job]:
        """Trainings, then what is measured of them; what others need comes first.

        The networks must have been generated. Raises UserError as Run does.
        """
        found: dict[str, Job] = {}
        for each in self.measurements():
            self._add_training(found, each.model.run, each.model.seed)
            job = self._measuring(each)
            found[job.name] = job
        return list(found.values())

    def _add_training(self, found: dict[str, Job], run: Run, seed: int) -> None:
        source = self._source(run)
        if source is not None:
            self._add_training(found, source, seed)
        job = training_job(run, source, seed, self.limit)
        found.setdefault(job.name, job)

    @staticmethod
    def _source(run: Run) -> Run | None:
        """The run that one starts from: stage 2 is shared by all depths, too."""
        if run.depth is not None and run.stage == 3:
            return Run(run.net, run.variant, 2, None, run.root)
        return run.previous

    def _measuring(self, each: Measurement) -> Job:
        return evaluation_job(
            each.model.run,
            lambda: each.find() is not None,
            each.scheme,
            each.split,
            each.images,
            each.depth,
            drawn=self.limit is not None,
        )


def few_labels_base_lr(labels: int) -> dict[int, float]:
    """By stage, for a number of labels."""
    if labels <= FEWEST_LABELS:
        return FEW_LABELS_BASE_LR | {2: FEWEST_LABELS_RATE}
    return FEW_LABELS_BASE_LR


def decodes(model: Model, scheme: str) -> bool:
    """Whether a result of the model has the reconstructions' error."""
    return model.variant != "baseline" and scheme == "single-crop"


def is_stacked(variant: str) -> bool:
    """Whether its decoder goes down to the image in one, and so from every depth."""
    return variant.endswith(("first", "all"))
