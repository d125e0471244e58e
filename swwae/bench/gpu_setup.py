"""What is compared on a card, and what its sides read."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.bench.contender import REFERENCE, Contender
from swwae.bench.floor import Work, at_batch, step_work
from swwae.bench.job import Job, Refused
from swwae.bench.maths import MATHS
from swwae.bench.network import (
    deterministic,
    inputs_for,
    on_engine,
    outputs_of,
    solver_for,
    with_inputs,
    without_fillers,
    write,
)
from swwae.bench.setup import NO_TORCH, write_weights
from swwae.bench.worker import Worker, environment
from swwae.nets import data_layers, network
from swwae.nets.cost import Cost, step_cost
from swwae.runs.run import Run

GPU_ENGINES = ("caffe", "torch", "torch-compile")
"""What --engines names with --gpu."""

LAYOUTS = {"nchw": "torch", "nhwc": "torch-channels-last"}
"""What --layout names, of PyTorch's sides -> kind of their worker."""

LEFT_OUT = (
    "left out, since PyTorch's search for kernels of fp32 channels last takes minutes;"
    " --layout nhwc asks for it"
)

PROBE_SECONDS = 60
"""That an interpreter may take to say what it has."""

NEEDED = ("torch", "numpy", "google.protobuf")
"""What the interpreter of PyTorch's side must have."""

FEW_IMAGES = 4
MOST_IMAGES = 64
LARGE = 64
"""Rows or columns of an image above which FEW_IMAGES are compared: the CPU's stock
engine takes about a second for each of VGG-16's."""


@dataclass(frozen=True)
class GpuComparison:
    """A comparison on a card that is ready to run.

    costs, works: batch size -> what a step needs. outputs: blobs that are compared.
    reference: what the CPU computes, with `compared` images; None: nothing is compared.
    """

    gpu: int
    costs: dict[int, Cost]
    works: dict[int, list[Work]]
    contenders: list[Contender]
    outputs: list[str]
    reference: Job | None
    compared: int


def prepare_on_gpu(
    run: Run,
    net: caffe_pb2.NetParameter,
    folder: Path,
    *,
    gpu: int,
    batches: Sequence[int] | None,
    compare_batch: int | None,
    threads: int,
    engines: Sequence[str],
    maths: Sequence[str],
    layouts: Sequence[str] | None,
    torch_python: Path | None,
    initial_weights: Path | None,
    seed: int,
) -> GpuComparison:
    """Writes to `folder` all that the sides on card `gpu` and the reference read.

    net: the run's network. batches: images a step; None: as the network says.
    compare_batch: images that are compared; None: `few_images`; 0: nothing is compared.
    threads: of the CPU's reference. engines: of GPU_ENGINES. maths: of MATHS. layouts:
    of LAYOUTS; None: both, but for what LEFT_OUT says. torch_python: PyTorch's
    interpreter; None: this one. initial_weights: a .caffemodel; None: what the fillers
    give. seed: of pixels and labels. Raises UserError where Caffe refuses the network,
    the weights are of another one, or there is no such interpreter.
    """
    image, blob = _image(run)
    solver = network.read_solver(run.solver)
    nets = {}
    for batch in batches or [None]:
        made = with_inputs(net, image, blob, batch, run.network)
        nets[batch or data_layers.batch_size(net)] = made
    images = compare_batch or few_images(image, next(iter(nets)))
    compared = prepare_compared(
        run,
        net,
        folder,
        gpu=gpu,
        images=images,
        threads=threads,
        initial_weights=initial_weights,
        seed=seed,
    )
    costs, works = {}, {}
    jobs: dict[int, Job] = {}
    for batch, timed in nets.items():
        blobs = at_batch(compared.shapes["blobs"], images, batch)
        costs[batch] = step_cost(timed, blobs, compared.shapes["parameters"])
        works[batch] = step_work(timed, blobs, compared.shapes["parameters"])
        there = folder / f"batch{batch}"
        there.mkdir()
        inputs = inputs_for(net, timed, compared.shapes["classes"], seed)
        np.savez(there / "inputs.npz", **inputs)
        jobs[batch] = _timed_job(there, timed, solver, compared.on_card)
    contenders = [
        Contender(
            name,
            batch,
            _as(jobs[batch], kind, math, compiled, torch_python),
            _as(compared.on_card, kind, math, False, torch_python),
        )
        for batch in jobs
        for name, kind, math, compiled in sides(engines, maths, layouts)
    ]
    if any(one.job.kind != "caffe" for one in contenders):
        refuse(contenders, layouts, torch_refusal(torch_python))
    return GpuComparison(
        gpu,
        costs,
        works,
        contenders,
        compared.outputs,
        None if compare_batch == 0 else compared.reference,
        images,
    )


@dataclass(frozen=True)
class Compared:
    """What a comparison of results reads.

    reference: the job of the CPU's stock engine; on_card: of the card, in fp32.
    shapes: as of `caffe_side.Side.prepare`. outputs: blobs that are compared.
    """

    reference: Job
    on_card: Job
    shapes: dict[str, Any]
    outputs: list[str]


def prepare_compared(
    run: Run,
    net: caffe_pb2.NetParameter,
    folder: Path,
    *,
    gpu: int,
    images: int | None,
    threads: int,
    initial_weights: Path | None,
    seed: int,
) -> Compared:
    """Writes to `folder` what a comparison with the CPU reads, weights among it.

    images: None for `few_images`. The others, and exceptions, as of `prepare_on_gpu`.
    """
    image, blob = _image(run)
    if images is None:
        images = few_images(image, data_layers.batch_size(net) or FEW_IMAGES)
    small = deterministic(with_inputs(net, image, blob, images, run.network))
    place = folder / "compared"
    place.mkdir()
    on_cpu, on_card, filled = (
        place / f"{name}.prototxt" for name in ("reference", "card", "filled")
    )
    write(on_cpu, without_fillers(on_engine(small, REFERENCE)))
    write(on_card, without_fillers(on_engine(small, "DEFAULT")))
    write(filled, on_engine(small, REFERENCE))
    inputs, solver = place / "inputs.npz", place / "card.solver"
    text = solver_for(network.read_solver(run.solver), on_card)
    solver.write_text(text, encoding="utf-8")
    paths = (str(path) for path in (on_cpu, solver, inputs, folder / "weights"))
    reference = Job("caffe", threads, *paths, updates=False)
    if initial_weights is None:
        shapes = _shapes(run, replace(reference, net=str(filled)))
    else:
        write_weights(run, reference, initial_weights)
        shapes = _shapes(run, reference)
        Path(f"{reference.weights}.caffemodel").unlink()  # the .npz says the same
    np.savez(inputs, **inputs_for(net, small, shapes["classes"], seed))
    card = replace(reference, net=str(on_card), gpu=gpu)
    return Compared(reference, card, shapes, outputs_of(small))


def few_images(image: network.Shape, batch: int) -> int:
    """Returns how many images are compared unless somebody says: of large ones few,
    else as many as are timed, up to MOST_IMAGES."""
    return FEW_IMAGES if max(image[2:]) > LARGE else min(batch, MOST_IMAGES)


def sides(
    engines: Sequence[str], maths: Sequence[str], layouts: Sequence[str] | None
) -> list[tuple[str, str, str, bool]]:
    """Returns (name, kind of worker, math, whether compiled) of every side."""
    found = []
    if "caffe" in engines:
        found += [(f"cuDNN {m}", "caffe", m, False) for m in maths if MATHS[m].ours]
    compiled = [engine == "torch-compile" for engine in engines if engine != "caffe"]
    for math, layout, is_compiled in product(maths, layouts or LAYOUTS, compiled):
        name = f"PyTorch {math}"
        name += ", channels last" if layout == "nhwc" else ""
        name += ", compiled" if is_compiled else ""
        found.append((name, LAYOUTS[layout], math, is_compiled))
    return found


def refuse(
    contenders: Sequence[Contender],
    layouts: Sequence[str] | None,
    no_torch: str | None,
) -> None:
    """Sets `refused` of PyTorch's sides that are not run. layouts: as they were asked
    for; no_torch: why there is no PyTorch, which is a fault where a Python was named
    for it."""
    for one in contenders:
        if one.job.kind == "caffe":
            continue
        if no_torch is not None:
            one.refused = no_torch
            one.died = one.job.python is not None
        elif (
            layouts is None
            and one.job.math == "fp32"
            and one.job.kind == LAYOUTS["nhwc"]
        ):
            one.refused = LEFT_OUT


def torch_refusal(torch_python: Path | None) -> str | None:
    """Returns why an interpreter (None: this one) cannot compute PyTorch's side; None
    where it can, as far as is seen without importing PyTorch. Raises UserError where it
    is no program."""
    python = str(torch_python or sys.executable)
    if torch_python is not None and shutil.which(python) is None:
        raise UserError(f"--torch-python {python}: there is no such program.")
    code = (
        "import sys; from importlib.util import find_spec\n"
        f"for name in {NEEDED!r}:\n"
        "    parts = name.split('.')\n"
        "    whole = ['.'.join(parts[:n + 1]) for n in range(len(parts))]\n"
        "    if not all(map(find_spec, whole)):\n"
        "        break\n"
        "else:\n"
        "    name = 'nothing'\n"
        "print('lacks', name)\n"
    )
    job = Job("torch", 1, "", "", "", "", True, python=python if torch_python else None)
    try:
        done = subprocess.run(
            [python, "-c", code],
            env=environment(job),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--torch-python {python} is no Python that works: it has not answered"
            f" within {PROBE_SECONDS} seconds."
        ) from None
    except OSError as error:
        raise UserError(f"--torch-python {python}: {error.strerror}.") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"--torch-python {python} is no Python that works: {lines[-1]}")
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    answer = re.fullmatch(r"lacks ([\w.]+)", last)
    if answer is None:
        raise UserError(
            f"--torch-python {python} is no Python: asked what it has, it says"
            f" {last[:60]!r}."
        )
    lacking = answer[1]
    if lacking == "nothing":
        return None
    if torch_python is None and lacking == "torch":
        return f"{NO_TORCH}, or name a Python that has it with --torch-python FILE"
    return f"{python} has no {lacking}: name a Python that has it with --torch-python"


def _image(run: Run) -> tuple[network.Shape, str]:
    """Returns the shape and the blob of a network's images."""
    deploy = run.models / "deploy.prototxt"
    require_file(deploy, "network", run.generator_command)
    return network.image_shape(deploy), network.image_blob(deploy)


def _shapes(run: Run, job: Job) -> dict[str, Any]:
    """Returns what `caffe_side.Side.prepare` says, and lets it write all parameters."""
    try:
        worker = Worker(job, "Caffe")
    except Refused as error:
        raise UserError(f"{relative(run.network)}: {error}") from error
    try:
        return worker.ask(prepare=job.weights, for_caffe=False)
    finally:
        worker.close()


def _timed_job(
    place: Path,
    timed: caffe_pb2.NetParameter,
    solver: caffe_pb2.SolverParameter,
    on_card: Job,
) -> Job:
    """Writes a network that is timed on a card, and returns the job that builds it."""
    path = place / "timed.prototxt"
    write(path, without_fillers(on_engine(timed, "DEFAULT")))
    text = solver_for(solver, path, on_gpu=True)
    path.with_suffix(".solver").write_text(text, encoding="utf-8")
    return replace(
        on_card,
        net=str(path),
        solver=str(path.with_suffix(".solver")),
        inputs=str(place / "inputs.npz"),
        updates=True,
    )


def _as(
    job: Job, kind: str, math: str, compiled: bool, torch_python: Path | None
) -> Job:
    python = str(torch_python) if torch_python and kind != "caffe" else None
    return replace(job, kind=kind, math=math, compiled=compiled, python=python)
