"""Runs `caffe train`: logs what it says, shows progress, stops it when it must stop."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from generator import caffe_build
from swwae.base import locks
from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.engine.cards import Card
from swwae.engine.log import (
    SEPARATOR,
    BeginTest,
    Event,
    Fatal,
    Iteration,
    NotFinite,
    Output,
    Snapshot,
    Stopped,
    Warned,
    parse_line,
)
from swwae.engine.progress import Block, Progress

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What makes Caffe stop after the iteration that it is in."""

STOPPING_NOTE = "\nstopping after this iteration, with a snapshot …\n".encode()


@dataclass
class Outcome:
    """How a session of `caffe train` ended.

    code: of the process, negative for a signal's number; stopped: it was interrupted
    and has not done all iterations; fatal: Caffe's last words; not_finite: the loss, or
    the weights, that ended it; damaged: so many records of the data were passed over;
    peak_memory: the most bytes it held, as of its last line; cards: the GPUs that it
    named, in order.
    """

    code: int = 0
    stopped: bool = False
    fatal: str | None = None
    not_finite: NotFinite | None = None
    damaged: int = 0
    seconds: float = 0.0
    peak_memory: int | None = field(default=None, compare=False)  # varies
    cards: list[Card] = field(default_factory=list)


@dataclass
class _Monitor:
    """Turns events into progress, and keeps what tells how it ended."""

    progress: Progress
    on_snapshot: Callable[[Path], None]
    on_cards: Callable[[list[Card]], None]
    outcome: Outcome
    block: Block | None = None
    tested: int = 0
    tests: list[Output] = field(default_factory=list)

    def handle(self, event: Event) -> None:
        if isinstance(event, Snapshot):
            # Said by a thread of its own, be it between lines that belong together.
            self.on_snapshot(ROOT / event.path)
            return
        if isinstance(event, Warned):
            self.outcome.damaged += "Cannot write" not in event.message
            self.progress.note(f"warning: {event.message}")
            return
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
        elif isinstance(event, Card):
            self._add_card(event)
        elif isinstance(event, NotFinite):
            self.outcome.not_finite = event
        elif isinstance(event, Fatal):
            self.outcome.fatal = event.message
        elif isinstance(event, Stopped):
            self.outcome.stopped = True

    def _add_card(self, card: Card) -> None:
        """Of two lines on one card, that counts which says more."""
        known = {each.number: each for each in self.outcome.cards}
        if card.number not in known or card.capability is not None:
            known[card.number] = card
        self.outcome.cards = [known[number] for number in sorted(known)]
        self.on_cards(self.outcome.cards)

    def flush(self) -> None:
        """Shows what has come together: an iteration or a test."""
        if self.tests:
            tests, self.tests = self.tests, []
            values = ", ".join(f"{o.name} {o.value:.4g}" for o in tests)
            self.progress.note(f"test at iteration {self.tested}: {values}")
        if self.block is not None:
            block, self.block = self.block, None
            if block.outputs:  # not so after the last update
                self.progress.show(block)


def train(
    command: list[str],
    log: Path,
    progress: Progress,
    on_snapshot: Callable[[Path], None],
    on_cards: Callable[[list[Card]], None] = lambda cards: None,
    environment: dict[str, str] | None = None,
) -> Outcome:
    """Runs `caffe train` in the project's root until it ends, appending to the log.

    Ctrl-C, SIGTERM and SIGHUP make Caffe finish its pass, save a snapshot and end; a
    second one kills it. It ends likewise where nobody can read the progress any more.
    A log that cannot be written any more is noted, and training goes on. on_snapshot is
    called with the path of every snapshot file when Caffe has written it, on_cards with
    the GPUs that it has named so far. environment: settings beside our own.
    """
    outcome = Outcome()
    monitor = _Monitor(progress, on_snapshot, on_cards, outcome)
    start = monotonic()
    with log.open("ab", buffering=0) as opened:
        file = _Log(opened, progress)
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        file.write(f"{SEPARATOR}{time} {' '.join(command)}\n")
        try:
            with (
                running(command, environment) as process,
                _forwarded_signals(process) as signals,
            ):
                unread = _follow(process, file, monitor)
                monitor.flush()
                outcome.code = process.wait()
        finally:
            progress.end()
    interrupted = unread or bool(signals)
    outcome.stopped = outcome.stopped or (interrupted and outcome.code != 0)
    outcome.seconds = monotonic() - start
    return outcome


@dataclass
class _Log:
    """Where it can no longer be written, the progress says so once."""

    file: BinaryIO
    progress: Progress
    failed: bool = False

    def write(self, text: str) -> None:
        try:
            self.file.write(text.encode())
        except OSError as error:  # a full disk may have room again
            if not self.failed:
                self.progress.note(
                    f"warning: cannot write {self.file.name}: {error.strerror}; what"
                    " Caffe says meanwhile is lost, and training goes on"
                )
            self.failed = True


def _follow(process: subprocess.Popen[str], log: _Log, monitor: _Monitor) -> bool:
    """Logs what Caffe says and watches over it, until it has said all.

    Returns whether it was asked to stop because nobody reads the progress any more.
    """
    outcome = monitor.outcome
    unread = False
    for line in process.stdout:
        log.write(line)
        event = parse_line(line)
        if event is not None:
            outcome.peak_memory = peak_memory(process.pid) or outcome.peak_memory
            monitor.handle(event)
        if monitor.progress.broken and not unread:
            unread = True
            process.send_signal(signal.SIGINT)
    return unread


def peak_memory(pid: int) -> int | None:
    """Returns the most bytes of the host's memory that a process has held so far.

    None where it has ended. (What wait4 tells of a child counts its parent's memory,
    which the two share until the child executes its program.)
    """
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        if match := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return 1024 * int(match[1])
    return None


@contextmanager
def running(
    command: list[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Runs Caffe in the project's root, what it says on `stdout`; then kills it.

    environment: settings beside our own. It ends with this process, however that ends,
    and holds the locks of this process until then: SIGKILL ends none that is waiting
    for a disk.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=caffe_build.environment() | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        process_group=0,  # a terminal's Ctrl-C reaches it through us alone
        preexec_fn=partial(end_with_parent, parent=os.getpid()),
        pass_fds=locks.descriptors(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def _forwarded_signals(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Makes our own signals stop Caffe; yields the list of those that came."""
    received: list[int] = []

    def forward(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            process.kill()
            return
        process.send_signal(signal.SIGINT)
        # print() must not be called here: the signal may have come within one.
        with suppress(OSError):  # its reader may have gone
            os.write(sys.stderr.fileno(), STOPPING_NOTE)

    heeded = [n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, forward) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
