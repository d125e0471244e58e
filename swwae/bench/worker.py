"""One side of a comparison in a process of its own, which works when it is asked to."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any

from generator.errors import UserError
from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.base.provenance import THREAD_SETTINGS
from swwae.bench.job import Job, Refused
from swwae.engine.log import fatal_messages

SERVE = (sys.executable, "-m", "swwae.bench.serve")
"""What a worker's process runs."""


class Worker:
    """A process that does a Job. To be closed.

    Raises Refused where the side cannot build the network, and UserError where the
    process dies; so does `ask`.
    """

    def __init__(self, job: Job, name: str) -> None:
        """Starts the process, and waits until the network is built.

        name: of the side, for messages.
        """
        self._name = name
        self._stderr = TemporaryFile("w+", encoding="utf-8", errors="replace")
        threads = dict.fromkeys(THREAD_SETTINGS, str(job.threads))
        self._process = subprocess.Popen(
            [*SERVE, job.to_json()],
            cwd=ROOT,
            env=os.environ | threads | {"GLOG_minloglevel": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            process_group=0,  # a terminal's Ctrl-C is the parent's alone
            preexec_fn=end_with_parent,  # killed, we leave no workers behind
        )
        try:
            answer = self._answer(building=True)
        except BaseException:
            self.close()
            raise
        if "refused" in answer:
            self.close()
            raise Refused(answer["refused"])

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request of `serve.serve`, waits for its answer, and returns that."""
        with suppress(BrokenPipeError):  # then there is no answer, either
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(OSError):
                file.close()

    def _answer(self, building: bool = False) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().splitlines()
        fatal = fatal_messages(lines)
        if fatal and building:
            raise Refused(f"Caffe refuses the network: {fatal[-1]}")
        reason = (fatal or lines or [f"exit code {code}"])[-1]
        when = "while it built the network" if building else "while it computed"
        if code == -signal.SIGKILL or "allocate memory" in reason:
            raise UserError(
                f"{self._name} ended {when}: memory ran out, as it seems; try a smaller"
                " --batch, or fewer --engines."
            )
        raise UserError(f"{self._name} ended {when}: {reason}")
