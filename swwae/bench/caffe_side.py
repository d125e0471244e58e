"""Caffe's side of a comparison: training steps, as `caffe train` takes them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.bench import card, replay
from swwae.bench.comparison import write_results
from swwae.bench.job import Job
from swwae.bench.network import label_blobs, tied_layers

MOVING = ("Pooling", "Depooling")
"""Layers that compare numbers at the most: they are as fast as the memory."""

SWITCHES = (caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.SWITCH)

SHORTEST = 2e-5
"""Seconds below which a pass measures its call, or did not compute anything."""

SEED = 1
"""Of dropout and noise, so that every engine has the same."""

GROUPS = 4
"""Of the steps of a turn on a card, each between two events."""

MOST_LAYERED = 10
"""Steps that are taken layer by layer on a card, where each of them waits."""


def open_card(job: Job) -> None:
    """Lets this process compute on the job's card."""
    caffe.set_device(job.gpu)
    caffe.set_mode_gpu()


def groups_of(count: int) -> list[int]:
    """Returns so many steps in at most GROUPS parts that are about equal."""
    parts = min(GROUPS, count)
    return [count * (at + 1) // parts - count * at // parts for at in range(parts)]


def copy_rate(threads: int) -> float:
    """Returns GB/s, read and written, of copies of 64 MiB in so many threads at once:
    the median of 7."""
    pairs = [[np.ones(1 << 24, np.float32) for _ in range(2)] for _ in range(threads)]
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            times.append(perf_counter() - start)
    return 2 * sum(to.nbytes for to, _ in pairs) / median(times) / 1e9


class Side:
    """A network in pycaffe, with its solver where the job takes whole steps."""

    free_before: int | None = None
    """Bytes of the card that were free before this process had its first network."""

    def __init__(self, job: Job) -> None:
        """On a card where `open_card` has chosen one."""
        if job.gpu is None:
            caffe.set_mode_cpu()
        elif Side.free_before is None:
            Side.free_before = card.free_memory(job.gpu)
        caffe.set_random_seed(SEED)
        self._job = job
        self._held: int | None = None
        self._layers = text_format.Parse(
            Path(job.net).read_text(encoding="utf-8"), caffe_pb2.NetParameter()
        )
        if job.updates:
            self._solver = caffe.get_solver(job.solver)
            self._net = self._solver.net
        else:
            self._net = caffe.Net(job.net, caffe.TRAIN)
        weights, arrays = Path(f"{job.weights}.caffemodel"), Path(f"{job.weights}.npz")
        if weights.is_file():
            self._net.copy_from(str(weights))
        elif arrays.is_file():
            with np.load(arrays) as parameters:
                for name in parameters.files:
                    layer, _, place = name.rpartition("/")
                    self._net.params[layer][int(place)].data[...] = parameters[name]
        if Path(job.inputs).is_file():
            with np.load(job.inputs) as inputs:
                for name in inputs.files:
                    self._net.blobs[name].data[...] = inputs[name]

    def steps(self, count: int) -> list[float]:
        """Takes so many whole training steps; returns the milliseconds of each, or, on
        a card, of a step of each group of them, after one that does not count."""
        if self._job.gpu is not None:
            self._solver.step(1)
            timers = []
            for size in groups_of(count):
                timer = caffe.Timer()  # two events
                timer.start()
                self._solver.step(size)
                timer.stop()
                timers.append((timer, size))
            return [timer.ms / size for timer, size in timers]  # waits for the card
        times = []
        for _ in range(count):
            start = perf_counter()
            self._solver.step(1)
            times.append(1000 * (perf_counter() - start))
        return times

    def memory(self) -> dict[str, int]:
        """Returns bytes of the card: "peak", what this process held after its first
        steps beyond what it did before its first network, and "free", what is left.

        No other process may change what it holds before the first call.
        """
        free = card.free_memory(self._job.gpu)
        if self._held is None:
            self._held = max(Side.free_before - free, 0)
        return {"peak": self._held, "free": free}

    def describe(self, maths: Sequence[str]) -> dict[str, Any]:
        """Returns what `card.describe` does."""
        return card.describe(self._job.gpu)

    def layers(self, count: int) -> dict[str, Any]:
        """Takes so many steps layer by layer; returns medians over them.

        milliseconds: layer type, "clear", "update" -> forward, backward. gigabytes: one
        of MOVING -> GB/s read and written, forward and backward; 0 where that cannot be
        measured. copied: GB/s of a copy of more than the caches hold. On a card, whose
        rates are measured elsewhere, the milliseconds alone.
        """
        on_card = self._job.gpu is not None
        if on_card:
            count = min(count, MOST_LAYERED)
        kinds = [layer.type for layer in self._net.layers]
        spent: dict[str, list[float]] = {}
        moved: dict[str, list[tuple[float, float]]] = {}  # bytes, seconds
        for (part, direction), seconds in self._time_parts(count).items():
            kind = part if isinstance(part, str) else kinds[part]
            spent.setdefault(kind, [0.0, 0.0])[direction] += 1000 * seconds
            if kind in MOVING and not on_card:
                sums = moved.setdefault(kind, [(0.0, 0.0)] * 2)
                if seconds >= SHORTEST:
                    bytes_, before = sums[direction]
                    bytes_ += self._traffic(part)
                    sums[direction] = bytes_, before + seconds
        if on_card:
            return {"milliseconds": spent}
        return {
            "milliseconds": spent,
            "gigabytes": {
                kind: [
                    bytes_ / seconds / 1e9 if seconds else 0.0
                    for bytes_, seconds in sums
                ]
                for kind, sums in moved.items()
            },
            "copied": copy_rate(self._job.threads),
        }

    def _time_parts(self, count: int) -> dict[tuple[int | str, int], float]:
        """Takes so many steps in parts: returns (layer's place, or "clear" or "update";
        0 forward or 1 backward) -> seconds, the median."""
        net, places = self._net, range(len(self._net.layers))
        parts: dict[tuple[int | str, int], Callable[[], object]] = {
            ("clear", 1): net.clear_param_diffs
        }
        parts |= {(at, 0): partial(net._forward, at, at) for at in places}
        parts |= {(at, 1): partial(net._backward, at, at) for at in reversed(places)}
        parts["update", 1] = self._solver.apply_update
        times: dict[tuple[int | str, int], list[float]] = {part: [] for part in parts}
        for _ in range(count):
            for part, run in parts.items():
                times[part].append(self._seconds(run))
        return {part: median(seconds) for part, seconds in times.items()}

    def _seconds(self, run: Callable[[], object]) -> float:
        """Returns the seconds that a call takes; on a card, until it has finished."""
        if self._job.gpu is None:
            start = perf_counter()
            run()
            return perf_counter() - start
        timer = caffe.Timer()
        timer.start()
        run()
        timer.stop()
        return timer.ms / 1000

    def _traffic(self, at: int) -> float:
        """Returns the bytes that a layer of MOVING has to read and write, in either
        direction: the values and, of those that have them, the switches."""
        net, name = self._net, self._net._layer_names[at]
        layer = next(layer for layer in self._layers.layer if layer.name == name)
        switches = layer.pooling_param.pool in SWITCHES and layer.type == "Depooling"
        bottoms = net.bottom_names[name][: 1 + switches]
        blobs = [*bottoms, *net.top_names[name]]
        return 4.0 * sum(net.blobs[blob].count for blob in blobs)

    def loss(self) -> float:
        """Returns the sum of the losses of the last step, each times its weight."""
        weights = self._net.blob_loss_weights
        return float(
            sum(
                weight * self._net.blobs[name].data.sum()
                for name, weight in weights.items()
                if weight
            )
        )

    def disturb(self, relative: float) -> None:
        """Changes every parameter by this share of itself, up or down at random."""
        random = np.random.default_rng(SEED)
        tied = tied_layers(self._layers)
        for name, blobs in self._net.params.items():
            for blob in blobs if name not in tied else ():
                sign = random.integers(2, size=blob.data.shape, dtype=np.int8) * 2 - 1
                blob.data[...] *= 1 + np.float32(relative) * sign

    def compare(
        self,
        path: Path,
        blobs: Sequence[str],
        *,
        save: Path | None = None,
        given: Path | None = None,
    ) -> None:
        """Writes blobs, and every layer's gradients, of one pass in both directions, as
        `write_results` does.

        save: where all blobs' values are written, too. given: a file of these: outputs
        are then of a pass with its switches, and gradients of a backward pass from its
        values.
        """
        net = self._net
        net.clear_param_diffs()
        if given is None:
            net.forward()
            outputs = {name: net.blobs[name].data.copy() for name in blobs}
        else:
            with np.load(given) as arrays:
                others = {name: arrays[name] for name in arrays.files}
            replay.forward_with_switches(net, others)
            outputs = {name: net.blobs[name].data.copy() for name in blobs}
            replay.forward_from(net, others)
        if save is not None:
            np.savez(save, **replay.values(net))
        net.backward()
        tied = tied_layers(self._layers)
        gradients = {
            name: [blob.diff for blob in parameters]
            for name, parameters in net.params.items()
            if name not in tied
        }
        write_results(path, outputs, gradients)

    def prepare(self, path: Path | None, for_caffe: bool = True) -> dict[str, Any]:
        """Returns the network's shapes, and saves its parameters for both sides.

        blobs: name -> shape; parameters: layer -> shapes; classes: blob of labels ->
        number of classes. path: without a suffix; None: nothing is saved. for_caffe:
        whether as a .caffemodel, too, beside the .npz that both read. Statistics
        that no BatchNorm has learned are set to a mean of 0 and a variance of 1: with
        the zeros that Caffe begins with, those that stay as they are would multiply
        without bound.
        """
        net = self._net
        for layer in net.layers:
            if layer.type == "BatchNorm" and not layer.blobs[2].data.any():
                layer.blobs[1].data[...] = layer.blobs[2].data[...] = 1
        if path is not None:
            if for_caffe:
                net.save(f"{path}.caffemodel")
            arrays = {
                f"{name}/{place}": blob.data
                for name, blobs in net.params.items()
                for place, blob in enumerate(blobs)
            }
            np.savez(f"{path}.npz", **arrays)
        shapes = {name: list(blob.shape) for name, blob in net.blobs.items()}
        return {
            "blobs": shapes,
            "parameters": {
                name: [list(blob.shape) for blob in blobs]
                for name, blobs in net.params.items()
            },
            "classes": {
                label: shapes[scores][1] if len(shapes[scores]) > 1 else 1
                for label, scores in label_blobs(self._layers).items()
            },
        }
