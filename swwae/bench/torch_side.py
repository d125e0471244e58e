"""PyTorch's side of a comparison: forward, backward and a fused SGD step.

Eager, or compiled where the job says so, on the CPU or on a card.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from generator.schema import read
from swwae.bench import torch_card
from swwae.bench.comparison import write_results
from swwae.bench.job import Job, Refused
from swwae.bench.torch_layers import Missing
from swwae.bench.torch_net import TorchNet, layers_of, missing, optimizer


def open_card(job: Job) -> None:
    """As `torch_card.open_card`."""
    torch_card.open_card(job)


class Side:
    """The network of a job; channels innermost where its kind says so."""

    def __init__(self, job: Job) -> None:
        """Raises Refused, naming the layers, where PyTorch has nothing for them."""
        torch.set_num_threads(job.threads)
        torch.manual_seed(1)
        self._job = job
        device = torch_card.device_of(job)
        if job.gpu is not None:
            torch_card.set_math(job.math)
            torch.backends.cudnn.benchmark = job.updates  # one pass is not worth it
        layers = layers_of(read(Path(job.net)))
        solver = read(Path(job.solver), "SolverParameter")
        if lacking := [*missing(layers), *_missing_of_solver(solver)]:
            raise Refused(f"the PyTorch side lacks {', '.join(lacking)}")
        try:
            self._net = TorchNet(layers, _load_weights(job.weights), device)
        except Missing as error:
            raise Refused(f"the PyTorch side lacks {error}") from error
        channels_last = job.kind == "torch-channels-last"
        if channels_last:
            self._net.channels_last()
        inputs = _load_inputs(job.inputs, channels_last)
        self._inputs = {name: values.to(device) for name, values in inputs.items()}
        self._optimizer = optimizer(
            self._net, solver.base_lr, solver.momentum, solver.weight_decay
        )
        self._loss: torch.Tensor | None = None
        self._forward = lambda inputs: self._net(inputs)[0]
        if job.compiled:
            self._forward = torch.compile(self._forward, dynamic=False)

    def steps(self, count: int) -> list[float]:
        """Takes so many whole training steps; returns the milliseconds of each, on a
        card after one that does not count."""
        if self._job.gpu is not None:
            return torch_card.time_steps(self._step, count)
        times = []
        for _ in range(count):
            start = perf_counter()
            self._step()
            times.append(1000 * (perf_counter() - start))
        return times

    def _step(self) -> None:
        self._optimizer.zero_grad()
        with torch_card.autocast(self._job.math):
            loss = self._forward(self._inputs)
        loss.backward()
        self._optimizer.step()
        self._loss = loss.detach()

    def memory(self) -> dict[str, int]:
        """Returns what `torch_card.memory` does."""
        return torch_card.memory()

    def describe(self, maths: Sequence[str]) -> dict[str, Any]:
        """Returns what `torch_card.describe` does."""
        return torch_card.describe(maths)

    def loss(self) -> float:
        """Returns the sum of the losses of the last step, each times its weight."""
        return float(self._loss)

    def compare(self, path: Path, blobs: Sequence[str]) -> None:
        """Writes blobs, and every layer's gradients, of one pass in both directions, as
        `write_results` does."""
        with torch_card.autocast(self._job.math):
            loss, kept = self._net(self._inputs, blobs)
        outputs = {name: _array(kept[name].detach()) for name in blobs}
        loss.backward()
        gradients: dict[str, list[np.ndarray]] = {}
        for (layer, _), parameter in self._net.parameters.items():
            values = parameter.values.grad
            if values is None:
                values = torch.zeros_like(parameter.values)
            gradients.setdefault(layer, []).append(_array(values))
        write_results(path, outputs, gradients)


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().contiguous().cpu().numpy()


def _missing_of_solver(solver: Any) -> list[str]:
    """Returns what of a SolverParameter PyTorch's side does not do."""
    lacking = []
    if solver.type != "SGD" or solver.regularization_type != "L2":
        lacking.append(f"solver {solver.type} {solver.regularization_type}")
    if solver.clip_gradients > 0:
        lacking.append("clip_gradients")
    return lacking


def _load_weights(path: str) -> dict[str, list[np.ndarray]]:
    """Returns layer -> its parameters, of a Job's weights."""
    weights: dict[str, list[np.ndarray]] = {}
    with np.load(f"{path}.npz") as arrays:
        for name in arrays.files:  # in order, by layers
            weights.setdefault(name.rpartition("/")[0], []).append(arrays[name])
    return weights


def _load_inputs(path: str, channels_last: bool) -> dict[str, torch.Tensor]:
    """Returns input blob -> images, or labels as whole numbers."""
    inputs = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            values = torch.from_numpy(arrays[name])
            if values.dim() < 2:
                values = values.long()  # labels
            elif channels_last and values.dim() == 4:
                values = values.contiguous(memory_format=torch.channels_last)
            inputs[name] = values
    return inputs
