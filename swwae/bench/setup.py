"""Makes what the contenders of `bench.py` read: networks, solvers, inputs, weights."""

import argparse
import importlib.util
from itertools import product
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.bench.job import Job, Refused
from swwae.bench.network import (
    ENGINES,
    Cost,
    cost,
    inputs_for,
    on_engine,
    outputs_of,
    solver_for,
    with_inputs,
    without_chance,
    write,
)
from swwae.bench.rounds import Contender
from swwae.bench.worker import Worker
from swwae.nets import (
    building,
    data_layers,
    network,
    weights,
)
from swwae.runs.run import Run

SIDES = {
    "caffe": {"CAFFE": "caffe"},
    "dnnl": {"DNNL": "caffe"},
    "torch": {"PyTorch": "torch", "PyTorch, channels last": "torch-channels-last"},
}
"""What --engines names -> contender -> kind of its worker."""


TORCH_COMMAND = ".venv/bin/pip install -e '.[torch]'"


NO_TORCH = f"torch is not installed: run {TORCH_COMMAND}"


def prepare(
    stage: Run,
    net: caffe_pb2.NetParameter,
    options: argparse.Namespace,
    folder: Path,
) -> tuple[dict[int, Cost], list[Contender], list[str]]:
    """Batch size -> what a step costs; contenders; the blobs that are compared.

    Files that contenders read go to the folder. Raises UserError where Caffe refuses
    the network, or weights are not its own.
    """
    deploy = stage.models / "deploy.prototxt"
    require_file(deploy, "network", stage.generator_command)
    image, blob = network.image_shape(deploy), network.image_blob(deploy)
    solver = network.read_solver(stage.solver)
    common = folder / "weights"
    costs, jobs = {}, {}
    for batch in options.batch or [None]:
        timed = with_inputs(net, image, blob, batch, stage.network)
        batch = batch or data_layers.batch_size(net)
        place = folder / f"batch{batch}"
        place.mkdir()
        for engine in ENGINES:
            files = {
                "timed": timed,
                "compared": without_chance(timed),
            }
            for kind, made in files.items():
                path = place / f"{kind}-{engine}.prototxt"
                write(path, on_engine(made, engine))
                text = solver_for(solver, path)
                path.with_suffix(".solver").write_text(text, encoding="utf-8")
        told = _prepared(place, common, options, stage)
        costs[batch] = cost(timed, told["blobs"], told["parameters"])
        inputs = inputs_for(net, timed, told["classes"], options.seed)
        np.savez(place / "inputs.npz", **inputs)
        jobs[batch] = place
    contenders = [
        Contender(
            name,
            batch,
            _job(kind, name, jobs[batch], common, threads, "timed"),
            _job(kind, name, jobs[batch], common, threads, "compared"),
            NO_TORCH if engine == "torch" and not has_torch() else None,
        )
        for batch, threads in product(jobs, options.threads)
        for engine in options.engines
        for name, kind in SIDES[engine].items()
    ]
    return costs, contenders, outputs_of(timed)


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _job(
    kind: str, name: str, place: Path, common: Path, threads: int, what: str
) -> Job:
    engine = name if name in ENGINES else ENGINES[0]
    net = place / f"{what}-{engine}.prototxt"
    return Job(
        kind,
        threads,
        str(net),
        str(net.with_suffix(".solver")),
        str(place / "inputs.npz"),
        str(common),
        what == "timed",
    )


def _prepared(
    place: Path, common: Path, options: argparse.Namespace, stage: Run
) -> dict:
    """Shapes of a network; the first time, the weights of all are saved as `common`."""
    begin = common
    first = not common.with_suffix(".npz").is_file()
    job = _job("caffe", "CAFFE", place, common, 1, "compared")
    if first and options.weights:
        given = weights.load(options.weights)
        shapes = building.parameter_shapes(Path(job.net))
        weights.require_all(
            shapes, given, options.weights, options.net, relative(stage.network)
        )
        weights.require_finite(given, options.weights)
        weights.save(given, begin.with_suffix(".caffemodel"))
        del given
    try:
        worker = Worker(job, "Caffe")
    except Refused as error:
        raise UserError(f"{relative(stage.network)}: {error}") from error
    try:
        return worker.ask(prepare=str(common) if first else None)
    finally:
        worker.close()
