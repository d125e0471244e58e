"""Caffe's side of a comparison: training steps, as `caffe train` takes them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.bench.job import Job, joined
from swwae.bench.network import label_blobs, tied_layers

MOVING = ("Pooling", "Depooling")
"""Layers that compare numbers at the most: the memory's speed is theirs."""


SWITCHES = (caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.SWITCH)


SHORTEST = 2e-5
"""Seconds below which a pass tells more of its call, or was nobody's business."""


SEED = 1
"""Of dropout and noise, so that every engine has the same."""


def copy_rate(threads: int) -> float:
    """GB/s read and written by copies of 64 MiB in so many threads at once: the median of
    7."""
    pairs = [[np.ones(1 << 24, np.float32) for _ in range(2)] for _ in range(threads)]
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            times.append(perf_counter() - start)
    return 2 * sum(to.nbytes for to, _ in pairs) / median(times) / 1e9


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

    def layers(self, count: int) -> dict[str, Any]:
        """Of so many steps, taken layer by layer, each layer's median:

        milliseconds: layer type, `clear`, `update` -> forward, backward. gigabytes: type
        of those that do nothing but move numbers -> what they read and write a second,
        forward and backward; 0 where that is not to be told. copied: what a copy of
        more than the caches hold reads and writes a second.
        """
        net = self._net
        kinds = [layer.type for layer in net.layers]
        steps = [(("clear", 1), [])]
        steps += [((at, 0), []) for at in range(len(kinds))]
        steps += [((at, 1), []) for at in reversed(range(len(kinds)))]
        steps += [(("update", 1), [])]
        passes = (net._forward, net._backward)
        other = {"clear": net.clear_param_diffs, "update": self._solver.apply_update}
        for _ in range(count):
            for (at, back), times in steps:
                start = perf_counter()
                if at in other:
                    other[at]()
                else:
                    passes[back](at, at)
                times.append(perf_counter() - start)
        spent: dict[str, list[float]] = {}
        moved: dict[str, list[tuple[float, float]]] = {}
        for (at, back), times in steps:
            kind = at if at in other else kinds[at]
            seconds = median(times)
            spent.setdefault(kind, [0.0, 0.0])[back] += 1000 * seconds
            if kind in MOVING:
                sums = moved.setdefault(kind, [(0.0, 0.0)] * 2)
                if seconds >= SHORTEST:
                    bytes_, before = sums[back]
                    sums[back] = bytes_ + self._traffic(at), before + seconds
        return {
            "milliseconds": spent,
            "gigabytes": {
                kind: [
                    bytes_ / seconds / 1e9 if seconds else 0.0
                    for bytes_, seconds in both
                ]
                for kind, both in moved.items()
            },
            "copied": copy_rate(self._job.threads),
        }

    def _traffic(self, at: int) -> float:
        """Bytes that a layer of MOVING has to read and write, the same in both
        directions: the values and, of those that have them, the switches."""
        net, name = self._net, self._net._layer_names[at]
        given = next(layer for layer in self._layers.layer if layer.name == name)
        switches = given.pooling_param.pool in SWITCHES and given.type == "Depooling"
        bottoms = net.bottom_names[name][: 1 + switches]
        blobs = [*bottoms, *net.top_names[name]]
        return 4.0 * sum(net.blobs[blob].count for blob in blobs)

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
