"""Trainings of vgg8 on images that are made up: do they learn, do they repeat?"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swwae.base.project import CAFFE
from swwae.datasets import datum_lmdb
from swwae.datasets.labelled_images import LabelledImages
from swwae.engine.log import Log, read_log
from swwae.selftest.checks import Failed, Finding
from swwae.selftest.programs import how_it_ended, run, run_well

NET = "vgg8"
NETWORKS = "networks"
FILES = {0: "train_val.prototxt", 2: "pretrain.prototxt", 4: "train_val.prototxt"}
"""By stages, which network they train."""

SIDE, SQUARE = 32, 8
"""Pixels of an image, and of the bright square whose place is its class."""

NOISE = 32
"""Grey levels below which the noise around the square lies."""

CLASSES = 10
COUNTS = {"train_lmdb": 2000, "test_lmdb": 500}

LEAST_ACCURACY = 0.9
MOST_OF_LOSS = 0.5
"""Of the reconstruction's first loss may be left at the end."""

ITERATIONS = {"classifier": 150, "decoders": 60, "repeated": 20}

SETTINGS = {
    "test_iter": "5",
    "display": "10",
}
"""Of every solver here."""


@dataclass(frozen=True)
class Trainings:
    """Networks, solvers and data in a folder. gpu: None for the CPU."""

    folder: Path
    gpu: int | None

    @property
    def weights(self) -> Path:
        """The classifier's, that `learn` leaves."""
        return self.folder / "classifier.caffemodel"

    def prepare(self, until: float) -> Finding:
        """Makes up images, and networks that read them with the generator."""
        for seed, (name, count) in enumerate(COUNTS.items()):
            images = made_up_images(count, seed)
            datum_lmdb.write(self.folder / name, images, {}, lambda done: None)
        made = run_well(
            [sys.executable, "-m", "generator", NET, "--variant", "all"]
            + ["--out", self.folder / NETWORKS, "--data", self.folder],
            until,
        )
        return Finding(
            f"{' and '.join(map(str, COUNTS.values()))} images;"
            f" {made.stdout.count('.prototxt')} networks and solvers"
        )

    def learn(self, until: float) -> Finding:
        """Trains the classifier (stage 0), then decoders of its features (stage 2).

        Raises Failed unless the former classifies and the latter reconstruct.
        """
        log = self._train("classifier", "baseline", 0, until)
        if not self.weights.is_file():
            raise Failed("caffe train left no weights")
        accuracy = float(log.test["accuracy"][1][-1])
        decoders = self._train(
            "decoders", "swwae-layerwise", 2, until, weights=self.weights
        )
        losses = decoders.train["dec:loss@data/scaled"][1]
        first, last = float(losses[0]), float(losses[-1])
        data = {"accuracy": accuracy, "reconstruction": [first, last]}
        detail = (
            f"{100 * accuracy:.0f} % of test images right after"
            f" {ITERATIONS['classifier']} updates; reconstruction from {first:.4g}"
            f" to {last:.4g} in {ITERATIONS['decoders']}"
        )
        if not (accuracy >= LEAST_ACCURACY and last <= MOST_OF_LOSS * first):
            raise Failed(
                f"{detail}: {100 * LEAST_ACCURACY:.0f} % were expected, and at most"
                f" {MOST_OF_LOSS:g} of the first loss",
                data,
            )
        return Finding(detail, data)

    def repeat(self, until: float) -> Finding:
        """Trains twice from the same weights; raises Failed unless both snapshots are
        the same bytes."""
        if not self.weights.is_file():
            raise Failed(
                "there are no weights to begin with, since the training failed"
            )
        cache = self.folder / "cudnn.txt"
        settings = {"CAFFE_DETERMINISTIC": "1", "CAFFE_CUDNN_CACHE": str(cache)}
        names = ("repeated", "repeated again")
        for name in names:
            self._train(name, "swwae-all", 4, until, settings, self.weights)
        first, second = (
            (self.folder / f"{name}.caffemodel").read_bytes() for name in names
        )
        count = ITERATIONS["repeated"]
        if first != second:
            raise Failed(f"two trainings of {count} updates ended in different weights")
        return Finding(f"two trainings of {count} updates: the same {len(first)} bytes")

    def _train(
        self,
        name: str,
        variant: str,
        stage: int,
        until: float,
        environment: Mapping[str, str] | None = None,
        weights: Path | None = None,
    ) -> Log:
        """Trains, leaves <name>.caffemodel, and returns the log."""
        count = ITERATIONS[name.split()[0]]
        models = self.folder / NETWORKS / "models" / NET / variant
        solvers = self.folder / NETWORKS / "solvers" / NET / variant
        solver = solvers / f"stage{stage}.prototxt"
        changes = SETTINGS | {
            "net": f'"{models / FILES[stage]}"',
            "max_iter": str(count),
            "test_interval": str(count),
            "snapshot": "0",
            "snapshot_prefix": f'"{self.folder / name}"',
        }
        ours = self.folder / f"{name}.prototxt"
        ours.write_text(with_settings(solver.read_text("utf-8"), changes), "utf-8")
        command: list[str | Path] = [CAFFE, "train", f"--solver={ours}"]
        command += [f"--weights={weights}"] if weights else []
        command += [] if self.gpu is None else [f"--gpu={self.gpu}"]
        wanted = {"GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}
        done = run(command, until, wanted | dict(environment or {}), self.folder)
        log = self.folder / f"{name}.log"
        log.write_text(done.stderr, "utf-8")
        if done.code != 0:
            raise Failed(f"caffe train ({variant}, stage {stage}) {how_it_ended(done)}")
        (self.folder / f"{name}_iter_{count}.caffemodel").replace(
            self.folder / f"{name}.caffemodel"
        )
        return read_log(log)


def made_up_images(count: int, seed: int) -> LabelledImages:
    """Returns grey images of noise with a bright square, whose place is the label."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % CLASSES
    images = random.integers(0, NOISE, (count, 1, SIDE, SIDE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = (SQUARE * int(n) for n in divmod(label, SIDE // SQUARE))
        image[0, top : top + SQUARE, left : left + SQUARE] = 255
    return LabelledImages(images, labels, ())


def with_settings(solver: str, changes: Mapping[str, str]) -> str:
    """Returns a solver's text with other values, written as they stand in a file."""
    for name, value in changes.items():
        line = f"{name}: {value}\n"
        pattern = re.compile(rf"^{name}:.*\n", re.MULTILINE)
        solver = pattern.sub("", solver) + line
    return solver
