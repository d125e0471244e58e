"""Where runs live, what precedes what, and what is known about a run.

A run is one stage of one network and variant:

    runs/<net>/<variant>[/depth<N>]/stage<k>/
        train.log  solver.prototxt  snapshot_iter_*  final.caffemodel  status.json

Stage 0 belongs to the baseline, and stages 1 and 2 to the family: `swwae-first` and
`swwae-all` share those of `swwae-layerwise`. `Run` settles that, so that two names of
the same run are equal. This is the one place for these paths.
"""

import fcntl
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime import ROOT, UserError
from wholefile import whole_file

from generator.networks import NETWORKS, lookup
from generator.variants import VARIANTS, find_variant

CAFFE = ROOT / "build" / "caffe" / "bin" / "caffe"

RUNS = ROOT / os.environ.get("RUNS_DIR", "runs")
"""Where runs go: runs/, unless RUNS_DIR says otherwise (the quick demo's do)."""

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
    root: the folder that runs are in; None for RUNS.
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
            object.__setattr__(self, "root", RUNS)

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
        return ROOT / "models" / self.place

    @property
    def network(self) -> Path:
        """The network that the stage works on."""
        return self.models / f"{NETWORK_FILES[self.stage]}.prototxt"

    @property
    def solver(self) -> Path:
        """The stage's solver as generated; stage 1 has none."""
        return ROOT / "solvers" / self.place / f"stage{self.stage}.prototxt"

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
        if self.root != ROOT / "runs":
            elsewhere = f"RUNS_DIR={shlex.quote(relative(self.root))} "
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
                f"{relative(path)} is damaged ({error}); remove it, and start the stage"
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
        try:
            with self._lock_file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it; UserError where another program does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise UserError(
                    f"{self.title} is being run already, by process {file.read()};"
                    f" its log is {relative(self.log)}."
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                self._remove_if_unused()

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


def stages_in(folder: Path) -> list[Run]:
    """The stages of the run that a folder is, such as runs/vgg8/swwae-all, in order:
    all that it builds on, and only those that have been started.

    A stage's own folder stands for the run it is in. A stage with a status.json has
    been started, whether or not that can be read. Raises UserError where the folder is
    no run's, or none of its stages has been started.
    """
    path = Path(os.path.abspath(folder))
    if re.fullmatch(r"stage[0-4]", path.name):
        path = path.parent
    depth = re.fullmatch(r"depth(\d{1,4})", path.name)
    if depth:
        path = path.parent
    wanted = "expected a run's folder, such as runs/vgg8/swwae-all"
    if not path.is_dir():
        raise UserError(f"there is no folder {relative(path)}; {wanted}.")
    if path.name not in VARIANTS or path.parent.name not in known_nets():
        raise UserError(
            f"{relative(folder)} is no run: {wanted}, the last two names being those of"
            " a network and a variant (python -m generator --list)."
        )
    last = Run(
        path.parent.name,
        path.name,
        4,
        int(depth[1]) if depth else None,
        path.parent.parent,
    )
    chain = [last]
    while chain[0].previous is not None:
        chain.insert(0, chain[0].previous)
    started = [run for run in chain if (run.folder / "status.json").exists()]
    if not started:
        raise UserError(
            f"{relative(folder)}: none of its stages has been started; the first one"
            f" is: {chain[0].command}"
        )
    return started


def _is_status(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("state") in STATES
        and isinstance(value.get("iterations"), int)
    )


def depths(net: str) -> tuple[int | None, int | None]:
    """A network's default decoding depth and its largest, as far as they are known."""
    if net in NETWORKS:
        return NETWORKS[net].depth, NETWORKS[net].max_depth
    found = _in_head(net, r"default depth (\d+) of (\d+)$")
    return (int(found[1]), int(found[2])) if found else (None, None)


def _in_head(net: str, pattern: str) -> re.Match | None:
    """What the first lines of a user's generated networks say."""
    for path in sorted((ROOT / "models" / net).rglob("*.prototxt")):
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.readline() + file.readline()
        if match := re.search(pattern, head, re.MULTILINE):
            return match
    return None


def _source(net: str) -> str:
    """The generator's argument behind a network: its name, or a user's own file."""
    if net in NETWORKS:
        return net
    found = _in_head(net, r"python -m generator (.+?) --variant ")
    return found[1] if found else net


def known_nets() -> list[str]:
    """Built-in networks, then those that were generated from a network file."""
    models = ROOT / "models"
    generated = sorted(p.name for p in models.iterdir()) if models.is_dir() else []
    return list(dict.fromkeys([*NETWORKS, *generated]))


def check_net(net: str) -> None:
    """Raises UserError, naming the known ones and the nearest, for an unknown one."""
    lookup("network", net, dict.fromkeys(known_nets()) | NETWORKS)


def check_depth(net: str, depth: int | None) -> None:
    """Raises UserError for a depth that the network does not have."""
    if depth is None:
        return
    _, deepest = depths(net)
    if depth < 1 or (deepest is not None and depth > deepest):
        range_text = "from 1" if deepest is None else f"from 1 to {deepest}"
        raise UserError(f"--depth {depth}: {net} can be decoded {range_text}.")


def relative(path: Path) -> str:
    """The path as people and status.json see it: relative to the project's root."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def check_writable(path: Path) -> None:
    """Raises UserError where no file of that name can be written."""
    folder = path.absolute().parent
    if path.is_dir():
        raise UserError(f"{relative(path)} is a folder; name a file in it.")
    if not folder.is_dir():
        raise UserError(f"there is no folder {relative(folder)}: make it first.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{relative(folder)} cannot be written to; choose another.")
