"""One side of a comparison in a process of its own, which works when it is asked to."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from generator import caffe_build
from generator.errors import UserError
from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT
from swwae.base.provenance import THREAD_SETTINGS
from swwae.bench.job import Job, Refused
from swwae.engine.log import fatal_messages

SERVE = (sys.executable, "-m", "swwae.bench.serve")
"""What a worker's process runs; another interpreter may take the first one's place."""

OWN_PYTHON = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""What is set for this interpreter, and would be wrong for another."""

SYSTEM = {Path("/usr"), Path("/usr/local")}
"""Where libraries are everybody's, though an interpreter may be there, too."""

OUT_OF_MEMORY = ("allocate memory", "out of memory", "memory left")


class Worker:
    """A process that does a Job. To be closed.

    Raises Refused where the side cannot build the network, and UserError where the
    process dies; so do `ready` and `ask`.
    """

    def __init__(self, job: Job, name: str, wait: bool = True) -> None:
        """Starts the process, and waits until the network is built, or the card chosen.

        name: of the side, for messages. wait: False leaves that to `ready`.
        """
        self._name = name
        self._is_ready = False
        self._stderr = TemporaryFile("w+", encoding="utf-8", errors="replace")
        threads = dict.fromkeys(THREAD_SETTINGS, str(job.threads))
        self._process = subprocess.Popen(
            [job.python or SERVE[0], *SERVE[1:], job.to_json()],
            cwd=ROOT,
            env=environment(job) | threads,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            process_group=0,  # a terminal's Ctrl-C is the parent's alone
            preexec_fn=end_with_parent,  # killed, we leave no workers behind
        )
        if wait:
            self.ready()

    def ready(self) -> None:
        """Waits for what `__init__` says, unless that has been done. It is closed where
        there is an exception."""
        if self._is_ready:
            return
        try:
            answer = self._answer(building=True)
            if "refused" in answer:
                raise Refused(answer["refused"])
        except BaseException:
            self.close()
            raise
        self._is_ready = True

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request of `serve.serve`, waits for its answer, and returns that."""
        with suppress(BrokenPipeError):  # then there is no answer, either
            print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._answer()
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer

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
        if code == -signal.SIGKILL or any(words in reason for words in OUT_OF_MEMORY):
            raise UserError(
                f"{self._name} ended {when}: memory ran out, as it seems; try a smaller"
                " --batch, or fewer --engines."
            )
        raise UserError(f"{self._name} ended {when}: {reason}")


def environment(job: Job) -> dict[str, str]:
    """Returns the environment of a job's process, but for its number of threads.

    Another interpreter gets nothing that was set for this one: no folders of modules,
    and no libraries of the project or of this interpreter, such as another cuDNN.
    """
    given = caffe_build.environment(2)
    if job.gpu is not None and job.kind == "caffe":
        given["CAFFE_GPU_MATH"] = job.math
        given.setdefault("CAFFE_SHARE_GRADIENTS", "1")  # as `caffe train` does
    if job.python is None:
        return given
    for name in OWN_PYTHON:
        given.pop(name, None)
    folders = given.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
    own = {ROOT, Path(sys.prefix), Path(sys.base_prefix)} - SYSTEM
    foreign = [
        folder
        for folder in filter(None, folders)
        if not any(Path(folder).is_relative_to(place) for place in own)
    ]
    if foreign:
        given["LD_LIBRARY_PATH"] = os.pathsep.join(foreign)
    return given
