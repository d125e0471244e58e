"""A run: where it lives, what precedes it, and what is known about it.

A run is one stage of one network and variant:

    runs/<net>/<variant>[/depth<N>]/stage<k>/
        train.log  solver.prototxt  snapshot_iter_*  final.caffemodel  status.json

or a part of stage 2, in stage2/macro-layer-<N>/: the decoder of one macro-layer.

Stage 0 belongs to the baseline, and stages 1 and 2 to the family: `swwae-first` and
`swwae-all` share those of `swwae-layerwise`. `Run` settles that, so that two names of
the same run are equal. This is the one place for these paths.
"""

import json
import os
import platform
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generator import layout, recipe
from generator.errors import UserError
from generator.variants import find_variant
from swwae.base import project
from swwae.base.files import write_json
from swwae.base.locks import Held, is_locked, locked
from swwae.runs.networks import (
    check_depth,
    check_net,
    depths,
    generator_command,
    make_on_request,
)

STAGES = {stage.number: stage.trains for stage in recipe.STAGES.values()}
"""What each stage does, in words (Section 4.1)."""

LAYERWISE = 2
"""The stage that trains every macro-layer's decoder on its own."""

STATES = ("running", "finished", "interrupted", "failed")

MOST_SECONDS = 1e12
"""That a status may say."""


class DamagedStatus(UserError):
    """A status.json that is none. reason: what is wrong with it."""

    def __init__(self, path: Path, reason: str, command: str) -> None:
        super().__init__(
            f"{project.relative(path)} is damaged ({reason}): {command} makes it anew"
            " of what lies beside it."
        )
        self.reason = reason


@dataclass(frozen=True)
class Run:
    """One stage of one network and variant; raises UserError where there is none.

    depth: the macro-layer that is decoded from; None for the network's default.
    root: the folder that runs are in; None for project.RUNS.
    macro_layer: the one, from 1 on, whose decoder stage 2 trains alone, in a folder
        below the stage's; None for the whole stage.
    """

    net: str
    variant: str
    stage: int
    depth: int | None = None
    root: Path | None = None
    macro_layer: int | None = None

    def __post_init__(self) -> None:
        variant = find_variant(self.variant)
        check_net(self.net)
        check_depth(self.net, self.depth)
        stage = recipe.find_stage(self.stage)
        stage.check(variant)
        if self.macro_layer is not None and self.stage != LAYERWISE:
            raise UserError(
                f"--macro-layer {self.macro_layer} is of stage {LAYERWISE}, whose"
                f" decoders are independent of each other, not of stage {self.stage}."
            )
        variant = stage.shared(variant)
        object.__setattr__(self, "variant", variant.name)
        default, _ = depths(self.net)
        if self.depth == default or not variant.has_decoder:
            object.__setattr__(self, "depth", None)
        if self.root is None:
            object.__setattr__(self, "root", project.RUNS)

    @property
    def place(self) -> str:
        """<net>/<variant>[/depth<N>], below models/, solvers/ and runs/ alike."""
        return layout.place(self.net, self.variant, self.depth)

    @property
    def title(self) -> str:
        part = "" if self.macro_layer is None else f", macro-layer {self.macro_layer}"
        return f"stage {self.stage} of {self.place}{part}"

    @property
    def models(self) -> Path:
        """The folder of this variant's networks; a built-in network's ladder, which is
        not kept there, is generated on the first look."""
        make_on_request(self.net, self.variant, self.depth)
        return project.ROOT / layout.MODELS / self.place

    @property
    def network(self) -> Path:
        """The network that the stage works on."""
        return self.models / f"{recipe.STAGES[self.stage].network}.prototxt"

    @property
    def solver(self) -> Path:
        """The stage's solver as generated; stage 1 has none."""
        make_on_request(self.net, self.variant, self.depth)
        return project.ROOT / layout.solver_path(self.place, self.stage)

    @property
    def folder(self) -> Path:
        folder = self.root / self.place / f"stage{self.stage}"
        if self.macro_layer is None:
            return folder
        return folder / f"macro-layer-{self.macro_layer}"

    @property
    def log(self) -> Path:
        return self.folder / "train.log"

    @property
    def status_file(self) -> Path:
        return self.folder / "status.json"

    @property
    def effective_solver(self) -> Path:
        """The solver of the last session: with what its command line decided."""
        return self.folder / "solver.prototxt"

    @property
    def final_weights(self) -> Path:
        """What the stage hands on: every layer's weights."""
        return self.folder / "final.caffemodel"

    @property
    def part_network(self) -> Path:
        """What `macro_layer` needs of the stage's network; see `stages.parts`."""
        return self.folder / "network.prototxt"

    def part(self, macro_layer: int) -> "Run":
        """Returns the part of stage 2 that trains one macro-layer's decoder."""
        return replace(self, macro_layer=macro_layer)

    def begun_parts(self) -> list["Run"]:
        """Returns the parts of stage 2 that have been begun, in order."""
        if self.stage != LAYERWISE:
            return []
        folders = self.part(1).folder.parent.glob("macro-layer-*/")
        numbers = (path.name.rpartition("-")[2] for path in folders)
        parts = (self.part(int(n)) for n in numbers if n.isdecimal())
        begun = [part for part in parts if part.status_file.exists()]
        return sorted(begun, key=lambda part: part.macro_layer)

    @property
    def previous(self) -> "Run | None":
        """The run whose final weights this one starts from."""
        before = recipe.previous(self.stage, find_variant(self.variant))
        if before is None:
            return None
        return Run(self.net, self.variant, before.number, self.depth, self.root)

    @property
    def setting(self) -> str:
        """What stands before a command line that this run is to be found by."""
        if self.root == project.ROOT / "runs":
            return ""
        return f"RUNS_DIR={shlex.quote(project.relative(self.root))} "

    @property
    def command(self) -> str:
        """The command line that makes this run."""
        depth = "" if self.depth is None else f" --depth {self.depth}"
        options = f"--net {self.net} --variant {self.variant}{depth}"
        if self.macro_layer is not None:
            options += f" --macro-layer {self.macro_layer}"
        return f"{self.setting}tools/run_stage.sh {self.stage} {options}"

    @property
    def generator_command(self) -> str:
        """The command line that makes this run's network and solver."""
        return generator_command(self.net, self.variant, self.depth)

    # --- what is known about it

    def status(self, of_any_types: bool = False) -> dict[str, Any]:
        """Returns what status.json says; {} where the run has never been started.

        of_any_types: whatever it says beside state and iterations, for who only shows
        it.
        A run that says "running" and that no program holds was killed: its state is
        given as "interrupted". Raises DamagedStatus where the file is no status, and
        UserError where it cannot be read.
        """
        path = self.status_file
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
            if fault := _fault(status, of_any_types):
                raise ValueError(fault)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(
                f"{project.relative(path)} cannot be read ({error.strerror}): move it"
                f" away, and {self.command} makes it anew of what lies beside it."
            ) from error
        except (ValueError, RecursionError) as error:
            raise DamagedStatus(path, str(error), self.command) from error
        if status["state"] == "running" and not self.is_locked():
            status["state"] = "interrupted"
        return status

    def write_status(self, status: dict[str, Any]) -> None:
        """Replaces status.json as a whole, or leaves it as it was."""
        write_json(self.status_file, status)

    def is_finished(self) -> bool:
        return self.status().get("state") == "finished" and self.final_weights.is_file()

    def is_locked(self) -> bool:
        """Tells whether a program is working on this run now."""
        return is_locked(self._lock_file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it; UserError where another program does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock_file.touch()
        try:
            with locked(self._lock_file):
                self._lock_file.write_text(f"{os.getpid()} on {platform.node()}")
                try:
                    yield
                finally:
                    self._remove_if_unused()
        except Held:
            raise UserError(
                f"{self.title} is being run already, by {self._holder()}; its log is"
                f" {project.relative(self.log)}."
            ) from None

    def _holder(self) -> str:
        """Returns in words who holds the run, as far as that is known."""
        try:
            number, _, machine = self._lock_file.read_text().partition(" on ")
        except OSError:
            number = ""
        if not number.isdecimal():
            return "another process"
        here = machine == platform.node()
        if here and not Path(f"/proc/{number}").exists():
            return (
                f"Caffe, which is about to end, as process {number} has, which started"
                " it"
            )
        return f"process {number}" + ("" if here else f" on {machine}")

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
        """Returns the runs to be made before this one, first one first."""
        before = self.previous
        if before is None or before.is_finished():
            return []
        return [*before.missing(), before]


def _fault(value: Any, of_any_types: bool) -> str | None:
    """Returns why a JSON value is no status; None where it is one."""
    if not isinstance(value, dict):
        return "it is no object"
    needed = ("state", "iterations")
    if not value.keys() >= set(needed):
        return "it lacks the stage's state or iterations"
    for name in needed if of_any_types else value:
        if not is_fit(name, value[name]):
            return f"it says {json.dumps(value[name])[:60]} for {name}"
    return None


def is_fit(name: str, value: Any) -> bool:
    """Tells whether a status may say so for a name: whatever nobody computes with is
    free."""
    match name:
        case "state":
            return isinstance(value, str) and value in STATES
        case "iterations":
            return _is_count(value)
        case "max_iter" | "seed":
            return value is None or _is_count(value)
        case "seconds":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return value is None or (is_number and 0 <= value <= MOST_SECONDS)
        case "command" | "data":
            return isinstance(value, list) and all(isinstance(v, str) for v in value)
        case "resumed_from":
            return isinstance(value, list) and all(map(_is_count, value))
        case "earlier_sessions":
            return isinstance(value, list)
    return True


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
