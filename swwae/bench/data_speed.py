"""How many images per second a network's data layer makes, by number of threads.

    tools/data_speed.py --net vgg16 --phase train
    tools/data_speed.py --lmdb data/photographs/train_lmdb --crop 224 \
        --shorter-edge 256 512

Times the data layer alone: a network that takes more images per second waits for it.
Every count of threads is measured in processes of its own, in turn, several times over.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import monotonic

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.project import ROOT, relative
from swwae.engine.log import Fatal, parse_line
from swwae.nets import data_layers, network
from swwae.stages.sources import require_databases

PHASES = {"train": caffe.TRAIN, "test": caffe.TEST}


THREADS = "OMP_NUM_THREADS"
"""The environment variable that says how many threads transform images."""


@dataclass(frozen=True)
class Measurement:
    """Images per second of one count of threads, one figure a repetition."""

    threads: int
    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        return median(self.rates)


def layers_of(path: Path, net: caffe_pb2.NetParameter, phase: str) -> str:
    """A network of `net`'s data layers of a phase alone, as text.

    Raises UserError where there is none, or where a database it reads is missing.
    """
    alone = caffe_pb2.NetParameter(
        layer=(
            layer
            for layer in net.layer
            if layer.type in data_layers.DATA and _in_phase(layer, PHASES[phase])
        )
    )
    if not alone.layer:
        raise UserError(f"{relative(path)} has no data layer in phase {phase}.")
    require_databases(alone, path)
    return text_format.MessageToString(alone)


def _in_phase(layer: caffe_pb2.LayerParameter, phase: int) -> bool:
    phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
    return not phases or phase in phases


def layer_on(
    database: Path, crop: int, shorter_edge: list[int], phase: str, batch: int
) -> str:
    """A network of one data layer, as text; its training mirrors.

    shorter_edge: none, one or two lengths in pixels. Raises UserError where there is no
    database.
    """
    layer = caffe_pb2.LayerParameter(name="data", type="Data", top=["data", "label"])
    transform = layer.transform_param
    transform.mirror = phase == "train"
    transform.crop_size = crop
    if shorter_edge:
        transform.shorter_edge = shorter_edge[0]
    if len(shorter_edge) > 1:
        transform.shorter_edge_max = shorter_edge[1]
    layer.data_param.source = str(database.absolute())
    layer.data_param.backend = caffe_pb2.DataParameter.LMDB
    layer.data_param.batch_size = batch
    if not (database / "data.mdb").is_file():
        raise UserError(
            f"{relative(database)} is no LMDB: a folder that holds a data.mdb was"
            " expected; data/README.md says how one is made."
        )
    return text_format.MessageToString(caffe_pb2.NetParameter(layer=[layer]))


def measure(text: str, phase: str, threads: int, seconds: float) -> float:
    """Images per second of a network of data layers, in a process of its own.

    Raises UserError, with Caffe's own words, where it refuses the network or the data.
    """
    with NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [sys.executable, ROOT / "tools/data_speed.py", "--here", file.name]
            + ["--phase", phase, "--seconds", str(seconds)],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {THREADS: str(threads)},
            cwd=ROOT,
        )
    if done.returncode == 0:
        return float(done.stdout)
    lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
    fatal = [e.message for e in map(parse_line, lines) if isinstance(e, Fatal)]
    raise UserError(f"the data layer fails: {(fatal or lines)[-1]}")


def measure_here(path: Path, phase: str, seconds: float) -> float:
    """Images per second of the network in a file, in this process."""
    net = caffe.Net(str(path), PHASES[phase])
    ready = max(layer.data_param.prefetch for layer in network.read(path).layer)
    for _ in range(ready + 1):  # those that were made while nobody waited for them
        net.forward()
    start, images = monotonic(), 0
    while monotonic() - start < seconds:
        net.forward()
        images += next(iter(net.blobs.values())).shape[0]
    return images / (monotonic() - start)


def report(measurements: list[Measurement]) -> str:
    """A table: threads, median and range of images/s, ratio to the first row."""
    lines = [f"{'threads':>7}  {'images/s':>8}  {'range':>11}  {'ratio':>5}"]
    for one in measurements:
        spread = f"{min(one.rates):.0f}-{max(one.rates):.0f}"
        ratio = one.rate / measurements[0].rate
        lines.append(f"{one.threads:7}  {one.rate:8.0f}  {spread:>11}  {ratio:5.2f}")
    return "\n".join(lines)
