"""vgg8's stages on small made-up data with `caffe train`: undisturbed, or killed at
random moments and resumed."""

import random
import subprocess
import time
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from generator import caffe_build
from generator.derived import with_few_labels
from generator.networks import VGG8
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import CAFFE
from swwae.stages import snapshots
from tests.helpers import datum_lmdb, loading

ITERATIONS, SNAPSHOT = 9, 2
IMAGES = 7
"""In a list of files: it begins anew several times."""

RECORDS = 53
"""Of every database: no multiple of a batch, so that every batch differs."""


def networks(variant: str) -> dict[str, str]:
    """Kind -> text, of vgg8 with few labels."""
    return loading.texts(plan(with_few_labels(VGG8, 100, 1), VARIANTS[variant]))


def write_network(text: str, folder: Path) -> None:
    """Writes a network of small batches, and the databases that it reads.

    Its images are cropped, mirrored and resized at random; it has a Dropout, which
    VGG-16 has and vgg8 lacks.
    """
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    names = [layer.name for layer in net.layer]
    if "fc4/relu" in names:
        layer = caffe_pb2.LayerParameter(name="drop", type="Dropout")
        layer.bottom.append("fc4")
        layer.top.append("fc4")
        net.layer.insert(names.index("fc4/relu") + 1, layer)
    for number, layer in enumerate(net.layer):
        if layer.type != "Data":
            continue
        in_training = any(rule.phase == caffe_pb2.TRAIN for rule in layer.include)
        layer.data_param.batch_size = 3 if in_training else 5
        layer.transform_param.mirror = True
        if in_training:
            layer.transform_param.shorter_edge = 32
            layer.transform_param.shorter_edge_max = 40
            layer.transform_param.crop_size = 32
        layer.data_param.source = f"data{number}_lmdb"
        write_images(folder / layer.data_param.source, number)
    (folder / "net.prototxt").write_text(text_format.MessageToString(net))


def write_images(folder: Path, seed: int) -> None:
    random_numbers = np.random.default_rng(seed)
    datum_lmdb.write(
        folder,
        [
            datum_lmdb.image(
                number % 10,
                32,
                data=random_numbers.integers(0, 256, 1024, np.uint8).tobytes(),
            )
            for number in range(RECORDS)
        ],
    )


def use_list_of_images(folder: Path, shuffled: bool) -> None:
    """Makes the training's data layer read files, fewer than are trained on."""
    path = folder / "net.prototxt"
    net = text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
    layer = net.layer[0]
    random_numbers = np.random.default_rng(1)
    lines = []
    for number in range(IMAGES):
        pixels = random_numbers.integers(0, 256, (36, 36), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png {number % 10}\n")
    (folder / "list.txt").write_text("".join(lines))
    layer.type = "ImageData"
    layer.image_data_param.source = "list.txt"
    layer.image_data_param.batch_size = 3
    layer.image_data_param.is_color = False
    layer.image_data_param.shuffle = shuffled
    layer.ClearField("data_param")
    path.write_text(text_format.MessageToString(net))


def write_solver(folder: Path, base_lr: float = 1e-3, **settings: object) -> None:
    solver = caffe_pb2.SolverParameter(
        net="net.prototxt",
        base_lr=base_lr,
        lr_policy="multistep",
        gamma=0.5,
        stepvalue=[3, 6],
        momentum=0.9,
        weight_decay=5e-4,
        max_iter=ITERATIONS,
        display=1,
        test_iter=[2],
        test_interval=3,
        snapshot=SNAPSHOT,
        snapshot_prefix=f"run/{snapshots.PREFIX}",
        solver_mode=caffe_pb2.SolverParameter.CPU,
        **settings,
    )
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))


def start(folder: Path, engine: str, snapshot: Path | None) -> subprocess.Popen:
    command = [str(CAFFE), "train", "--solver=solver.prototxt"]
    if snapshot is not None:
        command.append(f"--snapshot={snapshot.relative_to(folder)}")
    with (folder / "train.log").open("a") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=caffe_build.environment() | {"CAFFE_ENGINE": engine},
            stdout=log,
            stderr=log,
        )


def newest(folder: Path) -> int:
    """The iteration of the newest snapshot that can be resumed from; 0 for none."""
    return snapshots.newest_whole(folder / "run", {})[0] or 0


def train(folder: Path, engine: str, kills: int = 0, seed: int = 0) -> list[int]:
    """Trains from nothing to the end, killed so many times; returns the iterations
    that it was resumed from, 0 for its beginning."""
    (folder / "run").mkdir()
    moments = random.Random(seed)
    resumed = []
    while True:
        done = newest(folder)
        resumed.append(done)
        snapshot = snapshots.solver_state(folder / "run", done) if done else None
        process = start(folder, engine, snapshot)
        if len(resumed) > kills:
            code = process.wait(timeout=60)
            assert code == 0, (folder / "train.log").read_text()[-2000:]
            return resumed[1:]
        while newest(folder) <= done < ITERATIONS - SNAPSHOT:
            assert process.poll() is None, (folder / "train.log").read_text()[-2000:]
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.wait()


def left(folder: Path) -> dict[str, bytes]:
    """What a training has left of its last iteration: weights and solver's state."""
    return {
        path.name: path.read_bytes()
        for path in (folder / "run").glob(f"*_iter_{ITERATIONS}.*")
    }


def tests_said(folder: Path) -> dict[str, list[str]]:
    """Iteration -> what the test then said, the last time that it was done."""
    said: dict[str, list[str]] = {}
    for line in (folder / "train.log").read_text().splitlines():
        if "Testing net" in line:
            said[line.split("Iteration ")[1].split(",")[0]] = values = []
        elif "Test net output" in line:
            values.append(line.split("] ")[1])
    return said
