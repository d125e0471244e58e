"""Runs, as a notebook opens them.

run = swwae.Run("runs/vgg8/swwae-all")
iterations, values = run.losses()["dec:loss@conv1_2"]
run.model().classify(["cat.jpg"])
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator.errors import UserError
from swwae.base.project import locate, relative
from swwae.engine.log import Log, Series, read_log
from swwae.evaluation.model import Model
from swwae.runs import folders
from swwae.runs.run import Run as Stage

TOTAL = "total loss"
"""The name of the weighted sum of all losses."""


class Run:
    """A run of the stages, that of one network and variant: what is known about it.

    net, variant, depth: as on command lines; depth is None for the network's default.
    stages: the stages that have been started, by number, those of other variants that
    this one builds on among them; `stages[4].folder`, `.log` and `.final_weights` are
    paths.
    """

    def __init__(
        self, folder: Path | str, variant: str | None = None, depth: int | None = None
    ) -> None:
        """Opens runs/vgg8/swwae-all, say, or Run("vgg8", "swwae-all").

        folder: a run's or a stage's, as it is or, where there is none, relative to the
        project's root. With a variant: the name of a network. depth: None for the
        network's default.

        Raises UserError where that is no run's folder, or nothing has been started.
        """
        if variant is None:
            folder = locate(folder)
            if depth is not None:
                raise UserError("a depth goes with a network and a variant.")
        else:
            folder = Stage(str(folder), variant, 4, depth).folder.parent
        started = folders.stages_in(folder)
        self.stages: dict[int, Stage] = {stage.stage: stage for stage in started}
        root, net, variant, depth, _ = folders.folder_parts(folder)
        self._last = Stage(net, variant, 4, depth, root)
        self.net, self.variant, self.depth = net, variant, self._last.depth
        self.folder = self._last.folder.parent

    def __repr__(self) -> str:
        states = (
            f"stage {number} {stage.status().get('state', 'unknown')}"
            for number, stage in self.stages.items()
        )
        return f"<{relative(self.folder)}: {', '.join(states)}>"

    @property
    def status(self) -> dict[int, dict[str, Any]]:
        """What each stage's status.json says: state, iterations and more."""
        return {number: stage.status() for number, stage in self.stages.items()}

    def log(self, stage: int | None = None) -> Log:
        """Returns what a stage logged, as NumPy arrays; None: the last one with a log.

        Raises UserError where there is no log.
        """
        chosen = self._chosen(stage, lambda run: run.log.is_file(), "left a log")
        try:
            return read_log(chosen.log)
        except OSError as error:
            raise UserError(
                f"{relative(chosen.log)} cannot be read: {error.strerror}."
            ) from error

    def losses(self, stage: int | None = None, test: bool = False) -> dict[str, Series]:
        """Returns name -> iterations (int64) and values (float64), both (n,).

        Of training batches, with their weighted sum as "total loss"; test: of the test
        images, with whatever else was measured on them. Not multiplied by their
        weights; a decoder's is Caffe's EuclideanLoss, 1/(2N) of the sum of squares.
        stage: as in `log`.
        """
        log = self.log(stage)
        return dict(log.test) if test else {TOTAL: log.loss} | log.train

    def weights(self, stage: int | None = None) -> Path:
        """Returns the weights file that a stage left; None: the newest of this variant.

        Raises UserError where no such stage has finished.
        """
        return self._trained(stage).final_weights

    def model(
        self,
        stage: int | None = None,
        depth: int | None = None,
        gpu: int | None = None,
    ) -> Model:
        """Returns the network with the weights that a stage left.

        stage: None for the newest one of this variant that has finished; stages 1 and 2
        have the layerwise variant's network. depth: the macro-layer to decode from;
        None: the run's. gpu: that it computes on; None: the CPU. Raises UserError where
        no such stage has finished, and as Model does.
        """
        trained = self._trained(stage)
        depth = trained.depth if depth is None else depth
        return Model(trained.net, trained.variant, depth, trained.final_weights, gpu)

    def _trained(self, stage: int | None) -> Stage:
        return self._chosen(
            stage,
            lambda run: (
                run.is_finished() and (stage is not None or run.variant == self.variant)
            ),
            "finished",
        )

    def _chosen(
        self, stage: int | None, able: Callable[[Stage], bool], what: str
    ) -> Stage:
        """Returns the stage of that number, or the last one, for which `able` holds."""
        for number, started in sorted(self.stages.items(), reverse=True):
            if stage in (None, number) and able(started):
                return started
        which = "no stage of it has" if stage is None else f"stage {stage} has not"
        wanted = self._last if stage is None else self.stages.get(stage, self._last)
        raise UserError(
            f"{relative(self.folder)}: {which} {what}; run {wanted.command}"
        )
