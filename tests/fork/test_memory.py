"""Resident memory stays flat while vgg8 trains and snapshots, and while it is reshaped.

250 iterations and 25 reshapes; MEMORY_TIMES=40 in the environment makes it 10,000 and
1,000. `pytest -s` prints what is measured.
"""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.helpers.loading import build, in_child, without_data
from tests.helpers.photographs import write_lmdb

NETWORK = Path(__file__).parents[2] / "models/vgg8/swwae-all/train_val.prototxt"
TIMES = int(os.environ.get("MEMORY_TIMES", "1"))
ITERATIONS, RESHAPES = 250 * TIMES, 25 * TIMES
SNAPSHOTS = 5
SHAPES = 20  # more than a layer of the engine DNNL keeps convolutions for
ROUNDS = 6  # after which the allocator has found places for all of them
FLAT = 2 << 20  # bytes; an iteration that lost one blob of a batch would lose more


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def check_flat(what: str, warm_up: int, count: int, step: Callable[[int], object]):
    """After `warm_up` steps, `count` more take no memory."""
    for i in range(warm_up):
        step(i)
    before = resident()
    for i in range(count):
        step(i)
    after = resident()
    print(f"\n{what}: {before / 2**20:.1f} MB, after {count} {after / 2**20:.1f} MB")
    assert after - before < FLAT


def train(folder: Path) -> None:
    pixels = np.random.RandomState(1).randint(0, 256, (8, 1024), dtype=np.uint8)
    source = write_lmdb(
        folder / "lmdb",
        [
            caffe_pb2.Datum(channels=1, height=32, width=32, data=image.tobytes())
            for image in pixels
        ],
    )
    net = text_format.Parse(NETWORK.read_text(), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.type == "Data":
            layer.data_param.source, layer.data_param.batch_size = str(source), 2
    solver = caffe_pb2.SolverParameter(
        net_param=net,
        base_lr=1e-5,
        lr_policy="fixed",
        momentum=0.9,
        random_seed=1,
        snapshot=ITERATIONS // SNAPSHOTS,
        snapshot_prefix=str(folder / "snapshot"),
    )
    file = folder / "solver.prototxt"
    file.write_text(text_format.MessageToString(solver))
    training = caffe.SGDSolver(str(file))
    interval = ITERATIONS // SNAPSHOTS
    check_flat("iterations", interval + 1, ITERATIONS, lambda _: training.step(1))


def reshape() -> None:
    net = build(without_data(NETWORK.read_text(), (1, 32, 32), "data"), caffe.TRAIN)

    def step(i: int) -> None:
        images = SHAPES - i % SHAPES
        net.blobs["data"].reshape(images, 1, 32, 32)
        net.blobs["label"].reshape(images)
        net.forward()
        net.backward()

    check_flat("reshapes", ROUNDS * SHAPES, RESHAPES, step)


def test_training_takes_no_more_memory_from_iteration_to_iteration(tmp_path):
    in_child(train, tmp_path)


def test_reshaping_takes_no_more_memory_each_time():
    in_child(reshape)
