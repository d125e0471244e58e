"""The process of a worker: builds a network, then answers one request a line.

    python -m swwae.bench.serve JOB        JOB: a Job in JSON

`Worker` is the other end. Between requests it sleeps in a read, so that any number of
these processes can take turns on the same cores, or card. The side's module is imported
for the job's kind: PyTorch's runs under an interpreter that has no pycaffe.
"""

import gc
import json
import math
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from swwae.bench.busy import Others
from swwae.bench.job import Job, Refused
from swwae.bench.memory import forget_peak, peak_memory, resident_memory


def serve(job: Job) -> None:
    """Builds what a job says, and answers requests from stdin until that is closed.

    The first answer is {"ready": true}, or {"refused": why}, which ends it. A process
    of a card has chosen it then, and builds nothing before it is asked to. Requests:

    {"build": job}: builds that, in place of what there was -> "done", or "refused";
    {"steps": n}: takes training steps -> "milliseconds" of each, "loss" (null where it
        is not finite), "others" (cores that other processes took meanwhile), "peak"
        (most bytes held beyond the program and its libraries; on a card what
        `Side.memory` says);
    {"layers": n}: -> what Caffe's Side.layers of n steps returns;
    {"compare": file, "blobs": [...], "disturbance": x}: writes outputs and gradients of
        one pass, after changing the weights by x where that is not 0 (Caffe alone); any
        "save" and "given" are Caffe's Side.compare's;
    {"describe": [math, ...]}: -> what Side.describe says of the card;
    {"prepare": file or null}: -> what Caffe's Side.prepare returns; "for_caffe" too.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    name = "caffe_side" if job.kind == "caffe" else "torch_side"
    module = import_module(f"swwae.bench.{name}")
    libraries = resident_memory()
    side = None
    try:
        if job.gpu is None:
            side = module.Side(job)
        else:
            module.open_card(job)
    except Refused as error:
        answer(refused=str(error))
        return
    forget_peak()  # what loading the weights took is not a step's
    answer(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "build" in request:
            side = None  # its memory is free before there is another
            gc.collect()
            try:
                side = module.Side(Job.from_json(request["build"]))
            except Refused as error:
                answer(refused=str(error))
                continue
            answer(done=True)
        elif "steps" in request:
            others = Others()
            times = side.steps(request["steps"])
            taken = others.cores()
            loss = side.loss()
            if job.gpu is None:
                memory = {"peak": max(peak_memory() - libraries, 0)}
            else:
                memory = side.memory()
            answer(
                milliseconds=times,
                loss=loss if math.isfinite(loss) else None,
                others=taken,
                **memory,
            )
        elif "layers" in request:
            answer(**side.layers(request["layers"]))
        elif "compare" in request:
            if request["disturbance"]:
                side.disturb(request["disturbance"])
            paths = {key: Path(request[key]) for key in PATHS if request.get(key)}
            side.compare(Path(request["compare"]), request["blobs"], **paths)
            answer(done=True)
        elif "describe" in request:
            answer(**side.describe(request["describe"]))
        else:
            target = request["prepare"]
            for_caffe = request.get("for_caffe", True)
            answer(**side.prepare(Path(target) if target else None, for_caffe))


PATHS = ("save", "given")
"""Of a request to compare: files beside that of the results."""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    serve(Job.from_json(sys.argv[1]))
