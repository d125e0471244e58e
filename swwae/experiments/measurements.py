"""The models of the reproduction's tables, and what is measured of each."""

from dataclasses import dataclass
from pathlib import Path

from generator.paper import TABLE_1_TRAIN_IMAGES
from generator.small_networks import BUILT_IN
from swwae.evaluation import results
from swwae.experiments.training_jobs import is_trained, iterations_of
from swwae.runs.run import Run

NET = "vgg8"
"""The built-in network of the tables, unless another one is asked for."""

TRIAL_IMAGES = 500
"""That a trial is evaluated on."""


@dataclass(frozen=True)
class Model:
    """A trained network of the tables.

    name: of its row; net: as it was generated; stage: whose weights these are; root: of
    its runs; labels: how many it was given, None for all; depth: that its decoder
    begins at, None for the default; limit: its iterations at most, in a trial; made_of:
    the built-in network that it was generated from.
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
    made_of: str = NET

    @property
    def run(self) -> Run:
        return Run(self.net, self.variant, self.stage, self.depth, self.root)

    @property
    def is_trained(self) -> bool:
        """Whether it has been: as long as it is to be, with its seed."""
        return is_trained(self.run, self.seed, iterations_of(self.run, self.limit))


@dataclass(frozen=True)
class Measurement:
    """One result of a model. depth: that is decoded from, None for any."""

    model: Model
    scheme: str
    split: str
    depth: int | None = None

    def find(self) -> dict | None:
        """Returns what has been recorded of it: of as many images, of these weights.

        None where there is no such result.
        """
        if not self.model.is_trained:
            return None
        wanted = (self.scheme, self.split, self.images)
        for result in results.known(self.model.run):
            same = (result["scheme"], result["split"], result["images"]) == wanted
            same_images = result["seed"] in (None, 0)
            if same and same_images and self.depth in (None, result["depth"]):
                return result
        return None

    @property
    def images(self) -> int:
        """How many: a whole split, or as many as are drawn of it."""
        labels, data = self.model.labels, BUILT_IN[self.model.made_of].data
        if self.split == "train":
            every = data.train_images if labels is None else labels
            most = TABLE_1_TRAIN_IMAGES
        else:
            every = most = data.test_images
        return min(every, TRIAL_IMAGES if self.model.limit else most)

    @property
    def row(self) -> dict:
        """Its row in results.json; the errors are None where it is missing."""
        model = self.model
        result = self.find() or {}
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
            "images": result.get("images"),
            "top1_error": result.get("top1_error"),
            "top5_error": result.get("top5_error"),
            "recon_l2": result.get("recon_l2"),
        }
