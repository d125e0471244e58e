"""How many images per second a network's data layer makes, by number of threads.

    python -m swwae.bench.data_speed FILE PHASE SECONDS

prints it for the network in a file, in this process: OpenMP's number of threads is that
of a process, so that `measure` runs this once a measurement.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import monotonic

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator import caffe_build
from generator.errors import UserError
from swwae.base.processes import end_with_parent
from swwae.base.project import ROOT, relative
from swwae.base.tables import columns
from swwae.engine.log import fatal_messages
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
    """Returns a network of `net`'s data layers of a phase alone, as text.

    path: of `net`, for messages. Raises UserError where there is none, or where a
    database it reads is missing.
    """
    alone = caffe_pb2.NetParameter(
        layer=(
            layer
            for layer in net.layer
            if layer.type in data_layers.DATA
            and data_layers.in_phase(layer, PHASES[phase])
        )
    )
    if not alone.layer:
        raise UserError(f"{relative(path)} has no data layer in phase {phase}.")
    require_databases(alone, path)
    return text_format.MessageToString(alone)


def layer_on(
    database: Path, crop: int, shorter_edge: list[int], phase: str, batch: int
) -> str:
    """Returns a network of one data layer, as text; in training it mirrors images.

    crop: the side of the squares in pixels; 0: whole images. shorter_edge: no length,
    one, or the smallest and the largest, in pixels. Raises UserError where there is no
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


def measure_all(
    text: str,
    phase: str,
    thread_counts: Sequence[int],
    repetitions: int,
    seconds: float,
    progress: Callable[[str], None],
) -> list[Measurement]:
    """Measures every count of threads in turn, several times over; see `measure`.

    progress: is called with a line after each measurement.
    """
    rates: dict[int, list[float]] = {threads: [] for threads in thread_counts}
    for repetition in range(repetitions):
        for threads in rates:
            rate = measure(text, phase, threads, seconds)
            rates[threads].append(rate)
            progress(
                f"repetition {repetition + 1} of {repetitions},"
                f" {threads} threads: {rate:.0f} images/s"
            )
    return [Measurement(threads, tuple(found)) for threads, found in rates.items()]


def measure(text: str, phase: str, threads: int, seconds: float) -> float:
    """Returns images per second of a network of data layers, in a process of its own.

    text: the network. Raises UserError, with Caffe's own words, where it refuses the
    network or the data.
    """
    with NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "swwae.bench.data_speed"]
            + [file.name, phase, str(seconds)],
            check=False,
            capture_output=True,
            text=True,
            env=caffe_build.environment(2) | {THREADS: str(threads)},
            cwd=ROOT,
            preexec_fn=end_with_parent,
        )
    if done.returncode == 0:
        return float(done.stdout)
    lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
    raise UserError(f"the data layer fails: {(fatal_messages(lines) or lines)[-1]}")


def measure_here(path: Path, phase: str, seconds: float) -> float:
    """Returns images per second of the network in a file, in this process."""
    net = caffe.Net(str(path), PHASES[phase])
    ready = max(layer.data_param.prefetch for layer in network.read(path).layer)
    for _ in range(ready + 1):  # those that were made while nobody waited for them
        net.forward()
    start, images = monotonic(), 0
    while monotonic() - start < seconds:
        net.forward()
        images += next(iter(net.blobs.values())).shape[0]
    return images / (monotonic() - start)


def report(measurements: Sequence[Measurement]) -> str:
    """Returns a table: threads, median and range of images/s, ratio to the first."""
    rows = [("threads", "images/s", "range", "ratio")]
    for one in measurements:
        rows.append(
            (
                str(one.threads),
                f"{one.rate:.0f}",
                f"{min(one.rates):.0f}-{max(one.rates):.0f}",
                f"{one.rate / measurements[0].rate:.2f}",
            )
        )
    return columns(rows, ">")


if __name__ == "__main__":
    file_name, phase_name, seconds_text = sys.argv[1:]
    print(measure_here(Path(file_name), phase_name, float(seconds_text)))
