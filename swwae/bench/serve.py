"""The process of a worker: builds a network, then answers one request a line.

    python -m swwae.bench.serve JOB        JOB: a Job in JSON

`Worker` is the other end. Between requests it sleeps in a read, so that any number of
these processes can take turns on the same cores.
"""

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from swwae.bench.job import Job, Refused
from swwae.bench.memory import forget_peak, peak_memory, resident_memory


def serve(job: Job) -> None:
    """Builds what a job says, and answers requests from stdin until that is closed.

    The first answer is {"ready": true}, or {"refused": why}, which ends it. Requests:

    {"steps": n}: takes training steps -> "milliseconds" of each, "loss" (null where it
        is not finite), "peak" (most bytes held beyond the program and its libraries);
    {"layers": n}: -> what Caffe's Side.layers of n steps returns;
    {"compare": file, "blobs": [...], "disturbance": x}: writes outputs and gradients of
        one pass, after changing the weights by x where that is not 0 (Caffe alone);
    {"prepare": file or null}: -> what Caffe's Side.prepare returns.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    if job.kind == "caffe":
        from swwae.bench.caffe_side import Side
    else:
        from swwae.bench.torch_side import Side
    libraries = resident_memory()
    try:
        side = Side(job)
    except Refused as error:
        answer(refused=str(error))
        return
    forget_peak()  # what loading the weights took is not a step's
    answer(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "steps" in request:
            times = side.steps(request["steps"])
            loss = side.loss()
            answer(
                milliseconds=times,
                loss=loss if math.isfinite(loss) else None,
                peak=max(peak_memory() - libraries, 0),
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


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    serve(Job.from_json(sys.argv[1]))
