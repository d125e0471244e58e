"""One side of a comparison in a process of its own, which works when it is told to.

Run as a program with a Job in JSON, it builds the network, says so, and then answers
one request a line. `Worker` is the other end. Between requests it sleeps in a read, so
that any number of them can take turns on the same cores.
"""

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from swwae.bench.job import (
    Job,
    Refused,
    _forget_peak,
    arguments_of,
    memory,
)

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
        from swwae.bench.caffe_side import Side
    else:
        from swwae.bench.torch_side import Side
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


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(arguments_of(sys.argv[1]))
