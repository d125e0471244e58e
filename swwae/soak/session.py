"""One session of run_stage.sh, seen from outside: its processes, its log, its end."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.engine.log import SEPARATOR, Iteration, parse_line
from swwae.runs.run import Run

POLL = 0.03
"""Seconds between looks at a session."""

TAIL = 1 << 16
"""Bytes of a log's end that are looked at."""

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Circumstances:
    """Under which a session is started. prefix: of its command; environment: settings
    beside our own."""

    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Session:
    """A session of a stage that has been started, and ends with this process."""

    def __init__(
        self,
        run: Run,
        command: Sequence[str],
        output: Path,
        circumstances: Circumstances | None = None,
    ) -> None:
        """command: that runs the stage. output: the file that gets what it says."""
        around = circumstances or Circumstances()
        self._run = run
        self._output = output
        self._began = monotonic()
        self.trained_after: float | None = None
        """Seconds from its start until an iteration of its own was in the log."""
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [*around.prefix, *command],
                cwd=ROOT,
                env=os.environ | settings(run) | around.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_begin,
            )

    @property
    def pid(self) -> int:
        """Returns the process of run_stage.sh, and its group's number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Returns its exit code, negative for a signal; None where it goes on."""
        return self._process.poll()

    def caffe(self) -> int | None:
        """Returns the process of its `caffe train`; None where there is none."""
        return next(filter(_trains, _children(self.pid)), None)

    def send(self, number: int) -> None:
        """Sends a signal to run_stage.sh alone."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Waits until it has ended, so long at most; returns whether it has."""
        until = monotonic() + seconds
        while self._process.poll() is None:
            self._look()
            left = until - monotonic()
            if left <= 0:
                return False
            sleep(min(POLL, left))
        return True

    def said(self) -> str:
        """Returns all that it has said."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Kills it where it still runs; its caffe ends with it."""
        self._process.kill()
        self._process.wait()

    def _look(self) -> None:
        """Notes when it trains: while it has a caffe, the log ends with its part."""
        if self.trained_after is None and self.caffe() is not None:
            if last_iteration(self._run, own=True) is not None:
                self.trained_after = monotonic() - self._began


def settings(run: Run) -> dict[str, str]:
    """Returns what the environment says to a run's sessions: where it is, and, should
    it train on a GPU, what makes that exact."""
    return {"RUNS_DIR": str(run.root), "CAFFE_DETERMINISTIC": "1"}


def last_iteration(run: Run, own: bool = False) -> int | None:
    """Returns the last iteration that a run's log names; None where there is none.

    own: of the last session.
    """
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    if own:
        text = text.rpartition(f"\n{SEPARATOR}")[2]
    for line in reversed(text.splitlines()):
        event = parse_line(line)
        if isinstance(event, Iteration):
            return event.iteration
    return None


def last_sentence(text: str) -> str:
    """Returns how a program ended in its own words: what it printed as an error, else
    its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("run_stage.sh: ")]
    return (errors or lines or [""])[-1].strip()


def _begin() -> None:
    """Of a session's process. A shell has what it starts in the background ignore
    Ctrl-C."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _trains(pid: int) -> bool:
    """Tells whether a process is `caffe train`, and not what asks for its version."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile
        return False
    return words[0].endswith(b"/caffe") and words[1:2] == [b"train"]


def _children(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:  # ended meanwhile
        pass
    return found
