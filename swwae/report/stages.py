"""Which stages a report shows of the runs it is asked for, and what they lack."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.variants import find_variant
from swwae.base.project import relative
from swwae.report.curves import Curves, curves
from swwae.report.values import command_text, number
from swwae.runs.folders import folder_parts, stages_in
from swwae.runs.run import Run


@dataclass(frozen=True)
class Stage:
    """A stage that has been started.

    label: the run's name on the page. status: what status.json says. curves: what its
    log says.
    """

    run: Run
    label: str
    status: dict[str, Any]
    curves: Curves

    @property
    def title(self) -> str:
        return f"{self.label}, stage {self.run.stage}"

    @property
    def id(self) -> str:
        """Returns its title as an HTML id."""
        return "-".join(self.title.replace(",", " ").split())

    @property
    def state(self) -> str:
        return self.status["state"]

    @property
    def is_finished(self) -> bool:
        return self.state == "finished" and self.run.final_weights.is_file()

    @property
    def iterations(self) -> int:
        """Returns how many are done; of a running stage, as its log shows."""
        done = self.status["iterations"]
        if self.state == "running" and self.curves.iteration is not None:
            return max(done, self.curves.iteration)
        return done

    @property
    def seconds_left(self) -> float | None:
        """Returns seconds until a running stage is done; None where that is unknown."""
        total = number(self.status.get("max_iter"))
        if self.state != "running" or not self.curves.rate or not total:
            return None
        return number(max(0, total - self.iterations) / self.curves.rate)

    @property
    def seconds(self) -> float | None:
        """Returns seconds of training in all its sessions; None where none is known."""
        before = number(self.status.get("seconds"))
        if self.state != "running" or self.curves.began is None:
            return before
        session = (datetime.now(UTC) - self.curves.began).total_seconds()
        return (before or 0) + max(0, session)  # less than 0: the clock was set back

    @property
    def command(self) -> str:
        """Returns the command line that it was started with, which also resumes it."""
        return command_text(self.status.get("command")) or self.run.command


@dataclass(frozen=True)
class Experiment:
    """Runs of one network.

    stages: of all runs, each once, in the order of training. decoders: of each run that
    reconstructs, the last finished stage. notices: sentences on what is missing.
    """

    net: str
    stages: list[Stage]
    decoders: list[Stage]
    notices: list[str]


def collect(folders: Iterable[Path]) -> Experiment:
    """Reads the stages of runs' folders, such as runs/vgg8/swwae-all, and those they
    build on.

    What cannot be shown is named in the notices. The network is that of the first
    folder. Raises UserError where nothing can be shown.
    """
    notices: list[str] = []
    chains: dict[Run, list[Run]] = {}
    for folder in folders:
        try:
            started = stages_in(folder)
        except UserError as error:
            notices.append(str(error))
            continue
        last = _last_stage(folder)
        net = next(iter(chains), last).net
        if last.net != net:
            notices.append(
                f"{relative(folder)} is left out: it is a run of {last.net}, this page"
                f" is of {net}; it has a page of its own with: tools/report.py"
                f" {shlex.quote(relative(folder))}"
            )
            continue
        chains[last] = started
    stages = _stages(chains, notices)
    if not stages:
        raise UserError("\n".join(notices))
    decoders: list[Stage] = []
    for last, started in chains.items():
        notices += _not_started(last, started)
        readable = [stages[run] for run in started if run in stages]
        able = [stage for stage in readable if _can_reconstruct(stage, last)]
        decoders += able[-1:]
    notices = list(dict.fromkeys(notices))
    return Experiment(net, list(stages.values()), decoders, notices)


def _last_stage(folder: Path) -> Run:
    """Returns the run's stage 4, whether or not it has been started."""
    root, net, variant, depth, _ = folder_parts(folder)
    return Run(net, variant, 4, depth, root)


def _stages(chains: dict[Run, list[Run]], notices: list[str]) -> dict[Run, Stage]:
    """Returns every run once; what is wrong with one is appended to the notices."""
    runs = list(dict.fromkeys(run for started in chains.values() for run in started))
    labels = _labels(runs)
    stages: dict[Run, Stage] = {}
    for run in runs:
        try:
            status = run.status(of_any_types=True)
        except UserError as error:
            notices.append(str(error))
            continue
        if status.get("net", run.net) != run.net:
            notices.append(
                f"{relative(run.folder)} is left out: its status.json says that it is"
                f" of another network, {status['net']}."
            )
            continue
        try:
            stage_curves = curves(run.log)
        except UserError as error:
            notices.append(str(error))
            stage_curves = Curves()
        stage = Stage(run, labels[run], status, stage_curves)
        notices += _faults(stage)
        stages[run] = stage
    return stages


def _labels(runs: list[Run]) -> dict[Run, str]:
    """Returns variant and depth, and the folder of the runs where there are several."""
    roots = {run.root for run in runs}
    if len(roots) > 1:
        return {run: relative(run.root / run.place) for run in runs}
    return {run: run.place.removeprefix(f"{run.net}/") for run in runs}


def _faults(stage: Stage) -> list[str]:
    """Returns sentences on a stage that is not finished, or warns of something."""
    title, status = stage.run.title, stage.status
    total = number(status.get("max_iter"))
    done = f"{stage.iterations:,}" + (f" of {total:,.0f}" if total else "")
    if stage.state == "running":
        return [f"{title} is running: {done} iterations."]
    if stage.state == "interrupted":
        return [f"{title} was interrupted after {done} iterations: {stage.command}"]
    if stage.state == "failed":
        fault = status.get("fault") or "its log says why."
        return [f"{title} failed after {done} iterations: {fault}"]
    if not stage.is_finished:
        return [
            f"{title} is finished, but {relative(stage.run.final_weights)} is gone:"
            f" {stage.command} --force"
        ]
    warning = status.get("warning")
    return [f"{title}: {warning}"] if isinstance(warning, str) else []


def _not_started(last: Run, started: list[Run]) -> list[str]:
    """Returns sentences on the stages that are still to be run."""
    missing: list[Run] = []
    run: Run | None = last
    while run is not None and run not in started:
        missing.insert(0, run)
        run = run.previous
    return [f"{run.title} has not been started: {run.command}" for run in missing]


def _can_reconstruct(stage: Stage, last: Run) -> bool:
    """Tells whether a stage left every weight of the run's network, its decoder
    trained."""
    has_decoder = find_variant(last.variant).has_decoder
    return has_decoder and stage.is_finished and stage.run in (last, last.previous)
