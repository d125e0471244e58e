"""Runs commands that need one another, several at a time, and goes on where they were.

A job is one command. It is done when it says so, whoever ran it; what needs a job that
failed is not begun, everything else is.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import TextIO

from generator.errors import UserError
from swwae.base.locks import Held, locked
from swwae.base.program import FAILED, INTERRUPTED
from swwae.base.progress import Display, duration
from swwae.base.project import ROOT, relative
from swwae.engine.log import fatal_messages

POLL_INTERVAL = 0.2
"""Seconds between looks at the commands that run."""

SCREEN_INTERVAL, LINE_INTERVAL = 1.0, 30.0
"""Seconds between refreshes of a terminal, and between lines elsewhere."""


_SENTENCE = re.compile(r"[\w-]+\.(?:py|sh): ")
"""How the line begins in which a program of tools/ says what is wrong."""


@dataclass(frozen=True)
class Job:
    """One command.

    name: of it, for people, and its key. is_done: whether its result is there, and was
    made from what its needs are now. log: where its output goes. needs: names of the
    jobs before it. cost: how much work it is, in a unit that all jobs share.
    environment: of the command, added to this process's. progress: how much of it has
    been done, 0 to 1, while it runs. restart_options: added to the command where
    must_restart says that it cannot go on with what is there. gpus: numbers of those
    that it may run on, one of which it is given by --gpu; () leaves that to it.
    """

    name: str
    command: Sequence[str]
    is_done: Callable[[], bool]
    log: Path
    needs: tuple[str, ...] = ()
    cost: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[], float] = lambda: 0.0
    restart_options: Sequence[str] = ()
    must_restart: Callable[[], bool] = lambda: False
    gpus: Sequence[int] = ()


@dataclass
class ScheduleResult:
    """How a `Schedule` ended: names of the jobs that failed, and of those that were
    skipped because they need one of them."""

    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """Of the program whose jobs they were; 0 where all are done."""
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.failed or self.skipped else 0

    def fault(self, consequence: str = "") -> str | None:
        """Returns a sentence on why not all jobs are done, None where they are.

        consequence: of failures, in words that begin with a comma.
        """
        if self.interrupted:
            return "interrupted; the same command goes on"
        if not self.failed and not self.skipped:
            return None
        return (
            f"{len(self.failed)} jobs failed and {len(self.skipped)} that need them"
            f" were left out{consequence}; mend what is said above, and run the same"
            " command again."
        )


class Schedule:
    """Jobs in the order in which they are to run, as far as their needs let them."""

    def __init__(
        self,
        jobs: Iterable[Job],
        parallel: int,
        stream: TextIO | None = None,
        after_job: Callable[[], None] = lambda: None,
        table: Callable[[Mapping[str, str]], Sequence[str]] | None = None,
    ) -> None:
        """parallel: commands that run at a time. stream: for progress, stdout where it
        is None. after_job: is called after each. table: returns lines that are shown of
        the jobs, given the state of each, a word; None: those that run are named."""
        self._jobs = {job.name: job for job in jobs}
        self._parallel = parallel
        self._display = Display(stream, SCREEN_INTERVAL, LINE_INTERVAL)
        self._after_job = after_job
        self._table = table
        self._done: set[str] = set()
        self._update_done(set(self._jobs))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._gpus: dict[str, int] = {}  # of those that run on one
        self._result = ScheduleResult()
        self._began = monotonic()
        self._work_before = self._work_done()
        self._stopping = False

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return monotonic() - self._began

    @property
    def remaining(self) -> list[Job]:
        """The jobs that are not done, in their order."""
        return [job for job in self._jobs.values() if job.name not in self._done]

    @property
    def states(self) -> dict[str, str]:
        """Of each job: finished, running, failed, left out or waiting."""
        states = dict.fromkeys(self._jobs, "waiting")
        states |= dict.fromkeys(self._result.skipped, "left out")
        states |= dict.fromkeys(self._result.failed, "failed")
        states |= dict.fromkeys(self._running, "running")
        return states | dict.fromkeys(self._done, "finished")

    def run(self) -> ScheduleResult:
        """Runs what remains. Ctrl-C, SIGTERM and SIGHUP end the commands, too.

        Raises UserError where a command cannot be started, and BrokenPipeError where
        nobody reads the progress any more.
        """
        handlers = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            while not self._stopping:
                self._collect_ended()
                self._start_ready()
                if not self._running:
                    break
                self._show_progress()
                if self._display.broken:
                    raise BrokenPipeError
                sleep(POLL_INTERVAL)
        finally:
            self._end_running()
            self._display.clear()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._result.interrupted = self._stopping
        return self._result

    def _update_done(self, names: set[str]) -> None:
        """Finds out which of these jobs are done: those whose needs are, too."""
        self._done -= names
        unknown = [job for job in self._jobs.values() if job.name in names]
        while ready := [job for job in unknown if self._done.issuperset(job.needs)]:
            self._done.update(job.name for job in ready if job.is_done())
            unknown = [job for job in unknown if job not in ready]

    def _dependents(self, name: str) -> set[str]:
        """Returns the jobs that need one, directly or by others."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            before = waiting.pop()
            new = {
                job.name
                for job in self._jobs.values()
                if before in job.needs and job.name not in found
            }
            found |= new
            waiting += new
        return found

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _collect_ended(self) -> None:
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[name]
            self._gpus.pop(name, None)
            job = self._jobs[name]
            if process.returncode == 0 and job.is_done():
                self._done.add(name)
                self._update_done(self._dependents(name))
                self._after_job()
            elif not self._stopping:
                self._result.failed.append(name)
                self._display.print_line(f"{name} failed: {_reason(process, job)}")

    def _start_ready(self) -> None:
        lost = {*self._result.failed, *self._result.skipped}
        for job in self.remaining:
            if job.name in lost or job.name in self._running:
                continue
            if lost.intersection(job.needs):
                lost.add(job.name)
                self._result.skipped.append(job.name)
            elif self._done.issuperset(job.needs):
                if len(self._running) >= self._parallel:
                    return
                self._running[job.name] = _launch(job, self._choose_gpu(job))

    def _choose_gpu(self, job: Job) -> int | None:
        """Returns the GPU of the fewest jobs, the first of several; None: no GPU."""
        if not job.gpus:
            return None
        busy = list(self._gpus.values())
        self._gpus[job.name] = min(job.gpus, key=busy.count)
        return self._gpus[job.name]

    def _end_running(self) -> None:
        """Lets the commands save what they have, as on Ctrl-C, and waits for them."""
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running.values():
            process.wait()

    def _work_done(self) -> float:
        """Of all jobs, in the unit of their costs."""
        running = (self._jobs[name] for name in self._running)
        return sum(self._jobs[name].cost for name in self._done) + sum(
            job.cost * job.progress() for job in running
        )

    def _show_progress(self) -> None:
        if not self._display.is_due():
            return
        total = sum(job.cost for job in self._jobs.values())
        work = self._work_done()
        line = f"{work / total:4.0%}, {len(self._done)} of {len(self._jobs)} jobs"
        done_now = work - self._work_before
        if done_now > 0:
            left = (total - work) * self.seconds / done_now
            line += f", {duration(left)} left"
        if self._table is not None:
            self._display.show(line, *self._table(self.states))
            return
        running = ", ".join(
            f"{name} {self._jobs[name].progress():.0%}" for name in self._running
        )
        self._display.show(f"{line}: {running}")


@contextmanager
def exclusive_folder(folder: Path, program: str) -> Iterator[None]:
    """Makes the folder of a program's runs and holds it for this process alone.

    program: its name in tools/. Raises UserError where the program is at work there
    already, or where it cannot be a folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{relative(folder)} cannot hold the runs: {error.strerror}; choose another"
            " folder with --out DIR."
        ) from error
    try:
        with locked(folder):
            yield
    except Held:
        raise UserError(
            f"another tools/{program} is at work in {relative(folder)}: wait until it"
            " has ended, or give another --out DIR."
        ) from None


def run_silently(command: Sequence[str]) -> None:
    """Runs a short command in the project's root.

    Raises UserError, with its last line of output, where it fails.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).split("\n")[-1]
        raise UserError(f"`{' '.join(command)}` failed: {reason}")


def _launch(job: Job, gpu: int | None) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that Ctrl-C reaches it through us alone."""
    command = [*job.command, *(() if gpu is None else ("--gpu", str(gpu)))]
    command += job.restart_options if job.must_restart() else ()
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            log.truncate(0)
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **job.environment},
                process_group=0,
            )
    except OSError as error:
        raise UserError(
            f"{job.command[0]} cannot be run, or {relative(job.log)} not written:"
            f" {error.strerror}."
        ) from error


def _reason(process: subprocess.Popen[bytes], job: Job) -> str:
    """Returns why a command failed, as it says itself unless it was killed."""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"it was ended by {name} ({relative(job.log)})"
    return _last_line(job.log)


def _last_line(log: Path) -> str:
    """Returns the last line that a command wrote, or what Caffe ended it with."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    said = [n for n, line in enumerate(lines) if _SENTENCE.match(line)]
    after = lines[said[-1] :] if said else lines  # a program's own word is the last
    written = fatal_messages(after) or [line for line in after if line.strip()]
    last = written[-1].strip() if written else "it said nothing"
    return f"{last} ({relative(log)})"
