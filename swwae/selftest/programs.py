"""Runs programs that must have ended at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.engine.log import fatal_messages
from swwae.selftest.checks import Failed

CLOSING = 10.0
"""Seconds that a program gets to end by itself, once its time is over."""


@dataclass(frozen=True)
class Done:
    """What a program did. code: as subprocess has it; None: its time was over."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """Returns Caffe's last message, or the last line that was written."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        said = fatal_messages(lines) or lines or self.stdout.splitlines()
        return (said or [f"exit code {self.code}"])[-1].strip()


def run(
    command: Sequence[str | Path],
    until: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Done:
    """Returns what a program did until it ended, or until its time was over.

    until: of time.monotonic(). environment: joins this process's. Whatever the program
    has started ends with it.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        process_group=0,
        preexec_fn=end_with_parent,
    )
    code: int | None = 0
    try:
        out, err = process.communicate(timeout=max(until - monotonic(), 0.1))
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.terminate()  # our commands end their workers then
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=CLOSING)
        _kill_group(process)
        out, err = process.communicate()
        code = None
    except BaseException:
        _kill_group(process)
        process.communicate()
        raise
    return Done(code, out, err)


def run_well(
    command: Sequence[str | Path],
    until: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Done:
    """Returns what a program did, as `run`; raises Failed unless it ended well."""
    done = run(command, until, environment, cwd)
    if done.code != 0:
        name = Path(command[1 if command[0] == sys.executable else 0]).name
        raise Failed(f"{name} {how_it_ended(done)}")
    return done


def how_it_ended(done: Done) -> str:
    """Returns how a program that did not end well ended, in words."""
    if done.code is None:
        return f"had not ended when its time was over; it said last: {done.last_words}"
    return f"ended with code {done.code}: {done.last_words}"


def _kill_group(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
