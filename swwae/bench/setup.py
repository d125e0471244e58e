"""Writes what contenders read: networks, solvers, inputs, weights."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.bench.contender import Contender
from swwae.bench.job import Job, Refused
from swwae.bench.network import (
    ENGINES,
    deterministic,
    inputs_for,
    on_engine,
    outputs_of,
    solver_for,
    with_inputs,
    write,
)
from swwae.bench.worker import Worker
from swwae.nets import building, data_layers, network, weights
from swwae.nets.cost import Cost, step_cost
from swwae.runs.run import Run

SIDES = {
    "caffe": {"CAFFE": "caffe"},
    "dnnl": {"DNNL": "caffe"},
    "torch": {"PyTorch": "torch", "PyTorch, channels last": "torch-channels-last"},
}
"""What --engines names -> contender -> kind of its worker."""

TORCH_COMMAND = ".venv/bin/pip install -e '.[torch]'"
NO_TORCH = f"torch is not installed: run {TORCH_COMMAND}"


@dataclass(frozen=True)
class Comparison:
    """A comparison that is ready to run.

    costs: batch size -> what a step costs. outputs: blobs that are compared.
    """

    costs: dict[int, Cost]
    contenders: list[Contender]
    outputs: list[str]


def prepare(
    run: Run,
    net: caffe_pb2.NetParameter,
    folder: Path,
    *,
    batches: Sequence[int] | None,
    threads: Sequence[int],
    engines: Sequence[str],
    initial_weights: Path | None,
    seed: int,
) -> Comparison:
    """Writes to `folder` all that the contenders read.

    net: the run's network. batches: images a step; None: as the network says. threads:
    numbers of threads. engines: of SIDES. initial_weights: a .caffemodel; None: what
    the fillers give. seed: of pixels and labels. Raises UserError where Caffe refuses
    the network, or the weights are of another one.
    """
    deploy = run.models / "deploy.prototxt"
    require_file(deploy, "network", run.generator_command)
    image, blob = network.image_shape(deploy), network.image_blob(deploy)
    solver = network.read_solver(run.solver)
    common = folder / "weights"
    costs: dict[int, Cost] = {}
    for batch in batches or [None]:
        timed = with_inputs(net, image, blob, batch, run.network)
        batch = batch or data_layers.batch_size(net)
        place = _folder(folder, batch)
        place.mkdir()
        _write_networks(place, timed, solver)
        job = _job("caffe", "CAFFE", place, common, 1, "compared")
        first = not costs
        if first and initial_weights is not None:
            write_weights(run, job, initial_weights)
        shapes = _shapes(run, job, save_weights=first)
        costs[batch] = step_cost(timed, shapes["blobs"], shapes["parameters"])
        inputs = inputs_for(net, timed, shapes["classes"], seed)
        np.savez(place / "inputs.npz", **inputs)
    contenders = [
        Contender(
            name,
            batch,
            _job(kind, name, _folder(folder, batch), common, count, "timed"),
            _job(kind, name, _folder(folder, batch), common, count, "compared"),
            NO_TORCH if engine == "torch" and not has_torch() else None,
        )
        for batch, count in product(costs, threads)
        for engine in engines
        for name, kind in SIDES[engine].items()
    ]
    return Comparison(costs, contenders, outputs_of(timed))


def has_torch() -> bool:
    """Tells whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def _folder(folder: Path, batch: int) -> Path:
    return folder / f"batch{batch}"


def _write_networks(
    place: Path, timed: caffe_pb2.NetParameter, solver: caffe_pb2.SolverParameter
) -> None:
    """Writes what `_job` names: networks for timing and for comparing, by engine."""
    purposes = {"timed": timed, "compared": deterministic(timed)}
    for engine in ENGINES:
        for purpose, net in purposes.items():
            path = place / f"{purpose}-{engine}.prototxt"
            write(path, on_engine(net, engine))
            text = solver_for(solver, path)
            path.with_suffix(".solver").write_text(text, encoding="utf-8")


def _job(
    kind: str, name: str, place: Path, common: Path, threads: int, purpose: str
) -> Job:
    engine = name if name in ENGINES else ENGINES[0]
    net = place / f"{purpose}-{engine}.prototxt"
    return Job(
        kind,
        threads,
        str(net),
        str(net.with_suffix(".solver")),
        str(place / "inputs.npz"),
        str(common),
        purpose == "timed",
    )


def write_weights(run: Run, job: Job, source: Path) -> None:
    """Writes a .caffemodel as the job's weights; UserError where it does not fit."""
    loaded = weights.load(source)
    shapes = building.parameter_shapes(Path(job.net))
    weights.require_all(shapes, loaded, source, run.net, relative(run.network))
    weights.require_finite(loaded, source)
    weights.save(loaded, Path(job.weights).with_suffix(".caffemodel"))


def _shapes(run: Run, job: Job, save_weights: bool) -> dict[str, Any]:
    """Returns what `caffe_side.Side.prepare` says of the network that is compared.

    save_weights: whether to write the weights of all contenders.
    """
    try:
        worker = Worker(job, "Caffe")
    except Refused as error:
        raise UserError(f"{relative(run.network)}: {error}") from error
    try:
        return worker.ask(prepare=job.weights if save_weights else None)
    finally:
        worker.close()
