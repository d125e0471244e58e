"""Caffe's side of a comparison: training steps, as `caffe train` takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import caffe
import numpy as np
from bench_network import label_blobs, tied_layers
from bench_worker import Job, joined
from caffe.proto import caffe_pb2
from google.protobuf import text_format

SEED = 1
"""Of dropout and noise, so that every engine has the same."""


class Side:
    """A network in pycaffe, with its solver where a job updates."""

    def __init__(self, job: Job) -> None:
        caffe.set_mode_cpu()
        caffe.set_random_seed(SEED)
        self._job = job
        self._layers = text_format.Parse(
            Path(job.net).read_text(encoding="utf-8"), caffe_pb2.NetParameter()
        )
        if job.updates:
            self._solver = caffe.get_solver(job.solver)
            self._net = self._solver.net
        else:
            self._net = caffe.Net(job.net, caffe.TRAIN)
        weights = Path(f"{job.weights}.caffemodel")
        if weights.is_file():
            self._net.copy_from(str(weights))
        if Path(job.inputs).is_file():
            with np.load(job.inputs) as arrays:
                for name in arrays.files:
                    self._net.blobs[name].data[...] = arrays[name]

    def steps(self, count: int) -> list[float]:
        """Milliseconds of each of so many whole training steps."""
        times = []
        for _ in range(count):
            start = perf_counter()
            self._solver.step(1)
            times.append(1000 * (perf_counter() - start))
        return times

    def layers(self, count: int) -> dict[str, tuple[float, float]]:
        """Layer type -> milliseconds forward and backward of a step, and those of
        `clear` and `update`: medians of so many steps, taken layer by layer."""
        net, passes = self._net, []
        for _ in range(count):
            sums: dict[str, list[float]] = {}
            self._timed(sums, "clear", 1, net.clear_param_diffs)
            kinds = [layer.type for layer in net.layers]
            for at, kind in enumerate(kinds):
                self._timed(sums, kind, 0, net._forward, at, at)
            for at, kind in reversed(list(enumerate(kinds))):
                self._timed(sums, kind, 1, net._backward, at, at)
            self._timed(sums, "update", 1, self._solver.apply_update)
            passes.append(sums)
        return {
            kind: tuple(median(each[kind][at] for each in passes) for at in (0, 1))
            for kind in passes[0]
        }

    @staticmethod
    def _timed(
        sums: dict[str, list[float]],
        kind: str,
        at: int,
        work: Callable[..., Any],
        *arguments: int,
    ) -> None:
        start = perf_counter()
        work(*arguments)
        sums.setdefault(kind, [0.0, 0.0])[at] += 1000 * (perf_counter() - start)

    def loss(self) -> float:
        """The sum of the losses of the last step, each with its weight."""
        weights = self._net.blob_loss_weights
        return float(
            sum(
                weight * self._net.blobs[name].data.sum()
                for name, weight in weights.items()
                if weight
            )
        )

    def disturb(self, relative: float) -> None:
        """Changes every parameter by so much of itself, up or down at random."""
        random = np.random.default_rng(SEED)
        tied = tied_layers(self._layers)
        for name, own in self._net.params.items():
            for blob in own if name not in tied else ():
                sign = random.integers(2, size=blob.data.shape, dtype=np.int8) * 2 - 1
                blob.data[...] *= 1 + np.float32(relative) * sign

    def compare(self, path: Path, blobs: Sequence[str]) -> None:
        """Writes blobs, and every layer's gradient, of one pass in both directions."""
        net = self._net
        net.clear_param_diffs()
        net.forward()
        found = {f"outputs/{name}": net.blobs[name].data.copy() for name in blobs}
        net.backward()
        tied = tied_layers(self._layers)
        for name, own in net.params.items():
            if name not in tied:
                found[f"gradients/{name}"] = joined([blob.diff for blob in own])
        np.savez(path, **found)

    def prepare(self, path: Path | None) -> dict[str, Any]:
        """Tells the network's shapes, and saves its parameters for both sides.

        path: without a suffix; None: nothing is saved. Statistics that no BatchNorm has
        learned are taken for a mean of 0 and a variance of 1: with the zeros that
        Caffe begins with, those that stay as they are would multiply without bound.
        """
        net = self._net
        for layer in net.layers:
            if layer.type == "BatchNorm" and not layer.blobs[2].data.any():
                layer.blobs[1].data[...] = layer.blobs[2].data[...] = 1
        if path is not None:
            net.save(f"{path}.caffemodel")
            named = {
                f"{name}/{place}": blob.data
                for name, own in net.params.items()
                for place, blob in enumerate(own)
            }
            np.savez(f"{path}.npz", **named)
        shapes = {name: list(blob.shape) for name, blob in net.blobs.items()}
        return {
            "blobs": shapes,
            "parameters": {
                name: [list(blob.shape) for blob in own]
                for name, own in net.params.items()
            },
            "classes": {
                label: shapes[scores][1] if len(shapes[scores]) > 1 else 1
                for label, scores in label_blobs(self._layers).items()
            },
        }
