"""One side of a comparison in a process of its own, which works when it is told to.

Run as a program with a Job in JSON, it builds the network, says so, and then answers
one request a line. `Worker` is the other end. Between requests it sleeps in a read, so
that any number of them can take turns on the same cores.
"""

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from caffelog import Fatal, parse_line
from provenance import THREAD_SETTINGS
from runtime import ROOT, UserError

PR_SET_PDEATHSIG = 1  # linux/prctl.h

KINDS = ("caffe", "torch", "torch-channels-last")


@dataclass(frozen=True)
class Job:
    """What a worker builds.

    kind: one of KINDS. net, solver, inputs: files, of bench_network. weights: without
    its suffix; Caffe reads .caffemodel, PyTorch .npz. updates: whether it takes whole
    training steps; otherwise it has forward and backward passes alone.
    """

    kind: str
    threads: int
    net: str
    solver: str
    inputs: str
    weights: str
    updates: bool


class Refused(Exception):
    """Why a network cannot be had on a side: a sentence without its full stop."""


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
            [sys.executable, __file__, json.dumps(asdict(job))],
            cwd=ROOT,
            env=os.environ | threads | {"GLOG_minloglevel": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            process_group=0,  # a terminal's Ctrl-C is the parent's alone
            preexec_fn=_die_with_parent,
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


def _die_with_parent() -> None:
    # Killed without a chance to close its workers, it leaves none behind.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# --- the process's own end


def serve(job: Job) -> None:
    """Builds, and answers requests from stdin until it is closed.

    Requests: {"steps": n} -> milliseconds of each, the loss, the peak memory in bytes;
    {"layers": n} -> what Caffe's Side.layers of n steps tells;
    {"compare": file, "blobs": [...], "disturbance": x} -> writes outputs and gradients
    of one pass, after changing the weights by x where that is not 0 (Caffe alone);
    {"prepare": file or null} -> shapes, and how many classes labels have (Caffe alone).
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    if job.kind == "caffe":
        from bench_caffe import Side
    else:
        from bench_torch import Side
    held = memory("VmRSS")
    try:
        side = Side(job)
    except Refused as error:
        answer(refused=str(error))
        return
    _forget_peak()
    answer(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "steps" in request:
            times = side.steps(request["steps"])
            loss = side.loss()
            answer(
                milliseconds=times,
                loss=loss if math.isfinite(loss) else None,
                peak=max(memory("VmHWM") - held, 0),
            )
        elif "layers" in request:
            answer(**side.layers(request["layers"]))
        elif "compare" in request:
            if request["disturbance"]:
                side.disturb(request["disturbance"])
            side.compare(Path(request["compare"]), request["blobs"])
            answer(done=True)
        else:
            target = request["prepare"]
            answer(**side.prepare(Path(target) if target else None))


def memory(what: str) -> int:
    """Bytes that this process holds (VmRSS), or has held at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return 1024 * int(value.split()[0])
    return 0


def _forget_peak() -> None:
    """From now on, VmHWM counts anew: what loading the weights took is not a step's."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available_memory() -> int:
    """Bytes that can still be had, by the machine and the container around us."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [1024 * int(li.split()[1]) for li in lines if li.startswith("MemAvailable")]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    return min(free, default=sys.maxsize)


def arguments_of(text: str) -> Job:
    """A Job from its JSON."""
    given = json.loads(text)
    return Job(**{field.name: given[field.name] for field in fields(Job)})


def joined(arrays: Sequence[Any]) -> Any:
    """A layer's gradients, one after another."""
    import numpy as np

    return np.concatenate([np.asarray(each).ravel() for each in arrays])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(arguments_of(sys.argv[1]))
