"""Runs `caffe train`: logs what it says, shows progress, stops it when it must stop."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic

from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.engine.log import (
    SEPARATOR,
    BeginTest,
    Event,
    Fatal,
    Iteration,
    Output,
    Snapshot,
    Stopped,
    parse_line,
)
from swwae.engine.progress import Block, Progress

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


STOPPING_NOTE = "\nstopping after this iteration, with a snapshot …\n".encode()


@dataclass
class Outcome:
    """How a session of `caffe train` ended.

    code: of the process, negative for a signal's number; stopped: it was interrupted
    and has not done all iterations; fatal: Caffe's last words; not_finite: name,
    value and iteration of the loss that ended it; last: the last iteration whose losses
    were displayed and finite; peak_memory: the most bytes it held, as of its last line.
    """

    code: int = 0
    stopped: bool = False
    fatal: str | None = None
    not_finite: tuple[str, float, int] | None = None
    last: int | None = None
    seconds: float = 0.0
    peak_memory: int | None = field(default=None, compare=False)  # varies


@dataclass
class _Watch:
    """Turns events into progress, and finds the loss that is not finite."""

    progress: Progress
    snapshotted: Callable[[Path], None]
    outcome: Outcome
    block: Block | None = None
    tested: int = 0
    tests: list[Output] = field(default_factory=list)

    def see(self, event: Event) -> None:
        if isinstance(event, Output):
            if event.phase == "Test":
                self.tests.append(event)
            elif self.block is not None:
                self.block.outputs.append(event)
            return
        self.flush()
        if isinstance(event, Iteration):
            self.block = Block(event.iteration, event.loss, event.rate)
            if event.rate is None:
                self.flush()
        elif isinstance(event, BeginTest):
            self.tested = event.iteration
        elif isinstance(event, Snapshot):
            self.snapshotted(ROOT / event.path)
        elif isinstance(event, Fatal):
            self.outcome.fatal = event.message
        elif isinstance(event, Stopped):
            self.outcome.stopped = True

    def flush(self) -> None:
        """Shows what has come together: an iteration or a test."""
        if self.tests:
            tests, self.tests = self.tests, []
            values = ", ".join(f"{o.name} {o.value:.4g}" for o in tests)
            self.progress.note(f"test at iteration {self.tested}: {values}")
            self._check(_losses(tests), self.tested)
        if self.block is not None:
            block, self.block = self.block, None
            if block.outputs:  # not so after the last update
                self.progress.show(block)
            self._check(
                [*_losses(block.outputs), ("total loss", block.loss)], block.iteration
            )
            if self.outcome.not_finite is None:
                self.outcome.last = block.iteration

    def _check(self, losses: list[tuple[str, float]], iteration: int) -> None:
        for name, value in losses:
            if not math.isfinite(value) and self.outcome.not_finite is None:
                self.outcome.not_finite = (name, value, iteration)


def _losses(outputs: list[Output]) -> list[tuple[str, float]]:
    return [(o.name, o.value) for o in outputs if o.weight is not None]


def train(
    command: list[str],
    log: Path,
    progress: Progress,
    snapshotted: Callable[[Path], None],
) -> Outcome:
    """Runs the command in the project's root until it ends, appending to the log.

    Ctrl-C, SIGTERM and SIGHUP make Caffe finish its iteration, save a snapshot and
    end; a second one kills it. It ends likewise where nobody can read the progress any
    more. A loss that is not finite kills it. snapshotted is called with the path of
    every snapshot file when Caffe begins to write it.
    """
    outcome = Outcome()
    watch = _Watch(progress, snapshotted, outcome)
    unread = False
    start = monotonic()
    with log.open("a", encoding="utf-8", buffering=1) as file:
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        file.write(f"{SEPARATOR}{time} {' '.join(command)}\n")
        process = launch(command)
        try:
            with _stopping(process) as interrupted:
                for line in process.stdout:
                    file.write(line)
                    event = parse_line(line)
                    if event is not None:
                        outcome.peak_memory = (
                            peak_memory(process.pid) or outcome.peak_memory
                        )
                        watch.see(event)
                    if outcome.not_finite:
                        process.kill()
                        break
                    if progress.broken and not unread:
                        unread = True
                        process.send_signal(signal.SIGINT)
                watch.flush()
                outcome.code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            progress.end()
    asked = unread or bool(interrupted)
    outcome.stopped = asked and (outcome.stopped or outcome.code != 0)
    outcome.seconds = monotonic() - start
    return outcome


def peak_memory(pid: int) -> int | None:
    """The most bytes of the host's memory that a process has held since it began.

    None where it has ended. (What wait4 tells of a child counts its parent's memory,
    which the two share until the child executes its program.)
    """
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        if match := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return 1024 * int(match[1])
    return None


def launch(
    command: list[str], settings: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Caffe with its words on `stdout`, in the project's root; it dies with us.

    settings: of its environment, beside our own.
    """

    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ
        | {"GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}
        | (settings or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        process_group=0,  # a terminal's Ctrl-C reaches it through us alone
        preexec_fn=end_with_parent,
    )


@contextmanager
def _stopping(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Hands signals on to Caffe; yields the list of those that came."""
    received: list[int] = []

    def hand_on(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            process.kill()
            return
        process.send_signal(signal.SIGINT)
        # print() must not be called here: the signal may have come within one.
        with suppress(OSError):  # its reader may have gone
            os.write(sys.stderr.fileno(), STOPPING_NOTE)

    ours = [n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, hand_on) for number in ours}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
