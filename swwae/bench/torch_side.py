"""PyTorch's side of a comparison: forward, backward and a fused SGD step, eager."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from generator.schema import read
from swwae.bench.job import Job, Refused, joined
from swwae.bench.torch_layers import Missing
from swwae.bench.torch_net import (
    TorchNet,
    layers_of,
    missing,
    optimizer,
)


class Side:
    """The network of a job; channels innermost where its kind says so."""

    def __init__(self, job: Job) -> None:
        """Raises Refused, naming the layers, where PyTorch has nothing for them."""
        torch.set_num_threads(job.threads)
        torch.manual_seed(1)
        layers = layers_of(read(Path(job.net)))
        solver = read(Path(job.solver), "SolverParameter")
        lacking = missing(layers)
        if solver.type != "SGD" or solver.regularization_type != "L2":
            lacking.append(f"solver {solver.type} {solver.regularization_type}")
        if solver.clip_gradients > 0:
            lacking.append("clip_gradients")
        if lacking:
            raise Refused(f"the PyTorch side lacks {', '.join(lacking)}")
        weights: dict[str, list[np.ndarray]] = {}
        with np.load(f"{job.weights}.npz") as arrays:
            for name in arrays.files:  # in order, by layers
                weights.setdefault(name.rpartition("/")[0], []).append(arrays[name])
        try:
            self._net = TorchNet(layers, weights)
        except Missing as error:
            raise Refused(f"the PyTorch side lacks {error}") from error
        last = job.kind == "torch-channels-last"
        if last:
            self._net.channels_last()
        self._inputs = {}
        with np.load(job.inputs) as arrays:
            for name in arrays.files:
                values = torch.from_numpy(arrays[name])
                if values.dim() < 2:
                    values = values.long()  # labels
                elif last and values.dim() == 4:
                    values = values.contiguous(memory_format=torch.channels_last)
                self._inputs[name] = values
        self._optimizer = optimizer(
            self._net, solver.base_lr, solver.momentum, solver.weight_decay
        )
        self._loss: torch.Tensor | None = None

    def steps(self, count: int) -> list[float]:
        """Milliseconds of each of so many whole training steps."""
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
        """The sum of the losses of the last step, each with its weight."""
        return float(self._loss)

    def compare(self, path: Path, blobs: Sequence[str]) -> None:
        """Writes blobs, and every layer's gradient, of one pass in both directions."""
        loss, kept = self._net(self._inputs, blobs)
        found = {f"outputs/{name}": kept[name].detach().numpy() for name in blobs}
        loss.backward()
        gradients: dict[str, list[np.ndarray]] = {}
        for (name, _), each in self._net.parameters.items():
            values = each.values.grad
            if values is None:
                values = torch.zeros_like(each.values)
            gradients.setdefault(name, []).append(values.contiguous().numpy())
        found |= {f"gradients/{name}": joined(own) for name, own in gradients.items()}
        np.savez(path, **found)
