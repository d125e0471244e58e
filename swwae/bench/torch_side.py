"""PyTorch's side of a comparison: forward, backward and a fused SGD step, eager."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from generator.schema import read
from swwae.bench.comparison import write_results
from swwae.bench.job import Job, Refused
from swwae.bench.torch_layers import Missing
from swwae.bench.torch_net import TorchNet, layers_of, missing, optimizer


class Side:
    """The network of a job; channels innermost where its kind says so."""

    def __init__(self, job: Job) -> None:
        """Raises Refused, naming the layers, where PyTorch has nothing for them."""
        torch.set_num_threads(job.threads)
        torch.manual_seed(1)
        layers = layers_of(read(Path(job.net)))
        solver = read(Path(job.solver), "SolverParameter")
        if lacking := [*missing(layers), *_missing_of_solver(solver)]:
            raise Refused(f"the PyTorch side lacks {', '.join(lacking)}")
        try:
            self._net = TorchNet(layers, _load_weights(job.weights))
        except Missing as error:
            raise Refused(f"the PyTorch side lacks {error}") from error
        channels_last = job.kind == "torch-channels-last"
        if channels_last:
            self._net.channels_last()
        self._inputs = _load_inputs(job.inputs, channels_last)
        self._optimizer = optimizer(
            self._net, solver.base_lr, solver.momentum, solver.weight_decay
        )
        self._loss: torch.Tensor | None = None

    def steps(self, count: int) -> list[float]:
        """Takes so many whole training steps; returns the milliseconds of each."""
        times = []
        for _ in range(count):
            start = perf_counter()
            self._optimizer.zero_grad()
            loss, _ = self._net(self._inputs)
            loss.backward()
            self._optimizer.step()
            times.append(1000 * (perf_counter() - start))
            self._loss = loss.detach()
        return times

    def loss(self) -> float:
        """Returns the sum of the losses of the last step, each times its weight."""
        return float(self._loss)

    def compare(self, path: Path, blobs: Sequence[str]) -> None:
        """Writes blobs, and every layer's gradients, of one pass in both directions, as
        `write_results` does."""
        loss, kept = self._net(self._inputs, blobs)
        outputs = {name: kept[name].detach().numpy() for name in blobs}
        loss.backward()
        gradients: dict[str, list[np.ndarray]] = {}
        for (layer, _), parameter in self._net.parameters.items():
            values = parameter.values.grad
            if values is None:
                values = torch.zeros_like(parameter.values)
            gradients.setdefault(layer, []).append(values.contiguous().numpy())
        write_results(path, outputs, gradients)


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
