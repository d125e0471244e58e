"""Runs commands that need one another, several at a time, and goes on where they were.

A job is one command. It is done when it says so, whoever ran it; what needs a job that
failed is not begun, everything else is.
"""

import os
import signal
import subprocess
import sys
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
from swwae.base.progress import duration
from swwae.base.project import ROOT, relative

POLL = 0.2
"""Seconds between looks at the commands that run."""


LINE_INTERVAL = 30.0


SCREEN_INTERVAL = 1.0
"""Seconds between lines of progress, and between refreshes of one on a terminal."""


def nothing() -> float:
    return 0.0


def never() -> bool:
    return False


@dataclass(frozen=True)
class Job:
    """One command.

    name: of it, for people, and its key. needs: names of the jobs before it. is_done:
    whether its result is there, and of what its needs are now. cost: how much work it
    is, in a unit that all jobs share. share: how much of it has been done, 0 to 1,
    while it runs. log: where its output goes. anew: what is added to the command where
    is_stale says that what is there must not be gone on with.
    """

    name: str
    command: Sequence[str]
    is_done: Callable[[], bool]
    log: Path
    needs: tuple[str, ...] = ()
    cost: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)
    share: Callable[[], float] = nothing
    anew: Sequence[str] = ()
    is_stale: Callable[[], bool] = never


@dataclass
class Outcome:
    """How a `Schedule` ended: names of the jobs that failed, and of those that need
    them."""

    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    interrupted: bool = False


class Schedule:
    """Jobs in the order in which they are to run, as far as their needs let them."""

    def __init__(
        self,
        jobs: Iterable[Job],
        at_once: int,
        stream: TextIO = sys.stdout,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        """at_once: commands that run at a time. finished: is called after each job."""
        self._finished = finished
        self._jobs = {job.name: job for job in jobs}
        self._at_once = at_once
        self._stream = stream
        self._screen = stream.isatty()
        self._done: set[str] = set()
        self._settle(set(self._jobs))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._outcome = Outcome()
        self._started = monotonic()
        self._shown = -LINE_INTERVAL
        self._before = self._work()
        self._stopping = False

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return monotonic() - self._started

    @property
    def remaining(self) -> list[Job]:
        """The jobs that are not done, in their order."""
        return [job for job in self._jobs.values() if job.name not in self._done]

    def run(self) -> Outcome:
        """Runs what remains. Ctrl-C, SIGTERM and SIGHUP end the commands, too."""
        handlers = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            while not self._stopping:
                self._collect()
                self._begin()
                if not self._running:
                    break
                self._show()
                sleep(POLL)
        finally:
            self._end()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._outcome.interrupted = self._stopping
        return self._outcome

    def _settle(self, names: set[str]) -> None:
        """Finds out which of these jobs are done: those whose needs are, too."""
        self._done -= names
        open_ = [job for job in self._jobs.values() if job.name in names]
        while ready := [job for job in open_ if self._done.issuperset(job.needs)]:
            self._done.update(job.name for job in ready if job.is_done())
            open_ = [job for job in open_ if job not in ready]

    def _dependents(self, name: str) -> set[str]:
        """The jobs that need one, directly or by others."""
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

    def _collect(self) -> None:
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[name]
            job = self._jobs[name]
            if process.returncode == 0 and job.is_done():
                self._done.add(name)
                self._settle(self._dependents(name))
                self._finished()
            elif not self._stopping:
                self._outcome.failed.append(name)
                self._say(f"{name} failed: {_last_line(job.log)}")

    def _begin(self) -> None:
        lost = {*self._outcome.failed, *self._outcome.left_out}
        for job in self.remaining:
            if job.name in lost or job.name in self._running:
                continue
            if lost.intersection(job.needs):
                lost.add(job.name)
                self._outcome.left_out.append(job.name)
            elif self._done.issuperset(job.needs):
                if len(self._running) >= self._at_once:
                    return
                self._running[job.name] = _launch(job)

    def _end(self) -> None:
        """Lets the commands save what they have, as on Ctrl-C, and waits for them."""
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running.values():
            process.wait()

    def _work(self) -> float:
        done = sum(self._jobs[name].cost for name in self._done)
        return done + sum(
            self._jobs[name].cost * self._jobs[name].share() for name in self._running
        )

    def _show(self) -> None:
        now = monotonic()
        interval = SCREEN_INTERVAL if self._screen else LINE_INTERVAL
        if now - self._shown < interval:
            return
        self._shown = now
        total = sum(job.cost for job in self._jobs.values())
        work = self._work()
        line = f"{work / total:4.0%}, {len(self._done)} of {len(self._jobs)} jobs"
        spent = work - self._before
        if spent > 0:
            left = (total - work) * (now - self._started) / spent
            line += f", {duration(left)} left"
        running = ", ".join(
            f"{name} {self._jobs[name].share():.0%}" for name in self._running
        )
        self._say(f"{line}: {running}", passing=True)

    def _say(self, text: str, passing: bool = False) -> None:
        start = "\r\x1b[K" if self._screen else ""
        end = "" if self._screen and passing else "\n"
        print(f"{start}{text}", end=end, file=self._stream, flush=True)


@contextmanager
def only_one(out: Path, program: str) -> Iterator[None]:
    """Makes the folder of a program's runs and holds it; UserError where the program is
    at work there already, or where it cannot be a folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(
            f"{relative(out)} cannot hold the runs: {error.strerror}; choose another"
            " folder with --out DIR."
        ) from error
    try:
        with locked(out):
            yield
    except Held:
        raise UserError(
            f"another tools/{program} is at work in {relative(out)}: wait until it has"
            " ended, or give another --out DIR."
        ) from None


def run_silently(command: list[str]) -> None:
    """A short command; UserError with what it said last where it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).split("\n")[-1]
        raise UserError(f"`{' '.join(command)}` failed: {said}")


def _launch(job: Job) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that Ctrl-C reaches it through us alone."""
    command = [*job.command, *(job.anew if job.is_stale() else ())]
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


def _last_line(log: Path) -> str:
    """What a command said last."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    said = [line for line in lines if line.strip()]
    return f"{said[-1].strip() if said else 'it said nothing'} ({relative(log)})"
