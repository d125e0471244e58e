"""Where runs live, what precedes what, and what is known about a run.

A run is one stage of one network and variant:

    runs/<net>/<variant>[/depth<N>]/stage<k>/
        train.log  solver.prototxt  snapshot_iter_*  final.caffemodel  status.json

Stage 0 belongs to the baseline, and stages 1 and 2 to the family: `swwae-first` and
`swwae-all` share those of `swwae-layerwise`. `Run` settles that, so that two names of
the same run are equal. This is the one place for these paths.
"""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.variants import find_variant
from swwae.base import project
from swwae.base.files import whole_file
from swwae.base.locks import Held, is_locked, locked
from swwae.runs.networks import (
    _source,
    check_depth,
    check_net,
    depths,
)

STAGES = {
    0: "trains the plain classifier",
    1: "copies the pretrained classifier, adds fresh decoders",
    2: "trains the layerwise decoders, the encoder fixed",
    3: "trains the stacked decoder, the encoder fixed",
    4: "trains encoder, classifier and decoder together",
}
"""What each stage does (Section 4.1; stage 0 is ours)."""


STATES = ("running", "finished", "interrupted", "failed")


NETWORK_FILES = ("train_val", "train_val", "pretrain", "decoder", "train_val")
"""Which of a variant's networks each stage works on."""


@dataclass(frozen=True)
class Run:
    """One stage of one network and variant; raises UserError where there is none.

    depth: the macro-layer that is decoded from; None for the network's default.
    root: the folder that runs are in; None for project.RUNS.
    """

    net: str
    variant: str
    stage: int
    depth: int | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        variant = find_variant(self.variant)
        check_net(self.net)
        check_depth(self.net, self.depth)
        if self.stage not in STAGES:
            raise UserError(f"there is no stage {self.stage}; stages are 0 to 4.")
        if self.stage in (2, 3) and not variant.has_decoder:
            raise UserError(
                f"stage {self.stage} trains decoders and the baseline has none;"
                " its stages are 0, 1 and 4."
            )
        if self.stage == 3 and not variant.stacked:
            raise UserError(
                f"stage 3 trains a stacked decoder and {self.variant} has none, so the"
                " paper skips it (Section 4.1); go on with stage 4."
            )
        if self.stage == 0:
            variant = find_variant("baseline")
        elif self.stage in (1, 2):
            variant = variant.layerwise
        object.__setattr__(self, "variant", variant.name)
        default, _ = depths(self.net)
        if self.depth == default or not variant.has_decoder:
            object.__setattr__(self, "depth", None)
        if self.root is None:
            object.__setattr__(self, "root", project.RUNS)

    @property
    def place(self) -> str:
        """<net>/<variant>[/depth<N>], below models/, solvers/ and runs/ alike."""
        base = f"{self.net}/{self.variant}"
        return base if self.depth is None else f"{base}/depth{self.depth}"

    @property
    def title(self) -> str:
        return f"stage {self.stage} of {self.place}"

    @property
    def models(self) -> Path:
        """The folder of this variant's networks."""
        return project.ROOT / "models" / self.place

    @property
    def network(self) -> Path:
        """The network that the stage works on."""
        return self.models / f"{NETWORK_FILES[self.stage]}.prototxt"

    @property
    def solver(self) -> Path:
        """The stage's solver as generated; stage 1 has none."""
        return project.ROOT / "solvers" / self.place / f"stage{self.stage}.prototxt"

    @property
    def folder(self) -> Path:
        return self.root / self.place / f"stage{self.stage}"

    @property
    def log(self) -> Path:
        return self.folder / "train.log"

    @property
    def final_weights(self) -> Path:
        """What the stage hands on: every layer's weights."""
        return self.folder / "final.caffemodel"

    @property
    def previous(self) -> "Run | None":
        """The run whose final weights this one starts from."""
        if self.stage == 0:
            return None
        if self.stage == 1:
            return replace(self, variant="baseline", stage=0, depth=None)
        if self.stage == 4:
            variant = find_variant(self.variant)
            stage = 3 if variant.stacked else 2 if variant.has_decoder else 1
        else:
            stage = self.stage - 1
        return replace(self, stage=stage)

    @property
    def command(self) -> str:
        """The command line that makes this run."""
        elsewhere = ""
        if self.root != project.ROOT / "runs":
            elsewhere = f"RUNS_DIR={shlex.quote(project.relative(self.root))} "
        return f"{elsewhere}tools/run_stage.sh {self.stage} {self._options}"

    @property
    def generator_command(self) -> str:
        """The command line that makes this run's network and solver."""
        options = self._options.removeprefix(f"--net {self.net} ")
        return f".venv/bin/python -m generator {_source(self.net)} {options}"

    @property
    def _options(self) -> str:
        depth = "" if self.depth is None else f" --depth {self.depth}"
        return f"--net {self.net} --variant {self.variant}{depth}"

    # --- what is known about it

    def status(self) -> dict[str, Any]:
        """What status.json says; {} where the run has never been started.

        A run that says "running" and that no program holds was killed: its state is
        given as "interrupted". Raises UserError where the file is no status.
        """
        path = self.folder / "status.json"
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
            if not _is_status(status):
                raise ValueError("it lacks the stage's state or iterations")
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError, OSError) as error:
            raise UserError(
                f"{project.relative(path)} is damaged ({error}); remove it, and start the stage"
                f" over: {self.command} --force"
            ) from error
        if status["state"] == "running" and not self.is_locked():
            status["state"] = "interrupted"
        return status

    def write_status(self, status: dict[str, Any]) -> None:
        """Replaces status.json as a whole, or leaves it as it was."""
        path = self.folder / "status.json"
        text = json.dumps(status, indent=2, ensure_ascii=False, allow_nan=False)
        with whole_file(path, "w") as file:
            file.write(text + "\n")

    def is_finished(self) -> bool:
        return self.status().get("state") == "finished" and self.final_weights.is_file()

    def is_locked(self) -> bool:
        """Whether a program is working on this run now."""
        return is_locked(self._lock_file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it; UserError where another program does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock_file.touch()
        try:
            with locked(self._lock_file):
                self._lock_file.write_text(str(os.getpid()))
                try:
                    yield
                finally:
                    self._remove_if_unused()
        except Held:
            raise UserError(
                f"{self.title} is being run already, by process"
                f" {self._lock_file.read_text()}; its log is"
                f" {project.relative(self.log)}."
            ) from None

    def _remove_if_unused(self) -> None:
        """A refused run leaves no folder behind that says nothing."""
        if [path.name for path in self.folder.iterdir()] != [self._lock_file.name]:
            return
        self._lock_file.unlink()
        folder = self.folder
        with suppress(OSError):  # the first that holds another run, too, stays
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    @property
    def _lock_file(self) -> Path:
        return self.folder / ".lock"

    def missing(self) -> list["Run"]:
        """The runs to be made before this one, first one first."""
        before = self.previous
        if before is None or before.is_finished():
            return []
        return [*before.missing(), before]


def _is_status(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("state") in STATES
        and isinstance(value.get("iterations"), int)
    )
