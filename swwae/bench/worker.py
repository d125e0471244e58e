"""One side of a comparison in a process of its own, which works when it is told to.

Run as a program with a Job in JSON, it builds the network, says so, and then answers
one request a line. `Worker` is the other end. Between requests it sleeps in a read, so
that any number of them can take turns on the same cores.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from tempfile import TemporaryFile
from typing import Any

from generator.errors import UserError
from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.base.provenance import THREAD_SETTINGS
from swwae.bench.job import Job, Refused
from swwae.engine.log import Fatal, parse_line

SERVE = (sys.executable, "-m", "swwae.bench.serve")
"""What a worker's process runs."""


class Worker:
    """A process that does a Job. To be closed.

    Raises Refused where the side cannot build the network, and UserError where the
    process dies; so does `ask`.
    """

    def __init__(self, job: Job, name: str) -> None:
        """name: of the side, for people."""
        self._name = name
        self._said = TemporaryFile("w+", encoding="utf-8", errors="replace")
        threads = dict.fromkeys(THREAD_SETTINGS, str(job.threads))
        self._process = subprocess.Popen(
            [*SERVE, json.dumps(asdict(job))],
            cwd=ROOT,
            env=os.environ | threads | {"GLOG_minloglevel": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            process_group=0,  # a terminal's Ctrl-C is the parent's alone
            preexec_fn=end_with_parent,  # killed, we leave no workers behind
        )
        try:
            answer = self._answer("while it built the network")
        except BaseException:
            self.close()
            raise
        if "refused" in answer:
            self.close()
            raise Refused(answer["refused"])

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        with suppress(BrokenPipeError):  # then there is no answer, either
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer("while it computed")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._said):
            with suppress(OSError):
                file.close()

    def _answer(self, when: str) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().splitlines()
        fatal = [e.message.strip() for e in map(parse_line, lines) if _is_fatal(e)]
        if fatal and "built" in when:
            raise Refused(f"Caffe refuses the network: {fatal[-1]}")
        reason = (fatal or lines or [f"exit code {code}"])[-1]
        if code == -signal.SIGKILL or "allocate memory" in reason:
            raise UserError(
                f"{self._name} ended {when}: memory ran out, as it seems; try a smaller"
                " --batch, or fewer --engines."
            )
        raise UserError(f"{self._name} ended {when}: {reason}")


def _is_fatal(event: object) -> bool:
    return isinstance(event, Fatal)
