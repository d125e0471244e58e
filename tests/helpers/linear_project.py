"""A network of inner products, all of whose images are one: what its decoders' losses
do is known in numbers.

A decoder's residual r is scaled alike in all its components by every update. With the
rate e, momentum m and the energy c = |a|^2 + 2 of what it reads (the bias is read as a
one and learns at twice the rate), u <- m u + e c r, r <- r - u; its loss is |r|^2 / 2.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmdb
import numpy as np
from caffe.proto import caffe_pb2

REPOSITORY = Path(__file__).resolve().parents[2]
MOMENTUM = 0.9
IMAGE = np.array([[[0, 51], [102, 153]]], np.uint8)
SCALE = 1 / 255
BATCH, IMAGES = 2, 8
NETWORK = """
name: "linear"
layer {{
  name: "data" type: "Data" top: "data" top: "label"
  transform_param {{ scale: {scale} }}
  data_param {{ source: "data/train_lmdb" backend: LMDB batch_size: {batch} }}
}}
{layers}
layer {{
  name: "loss" type: "SoftmaxWithLoss" bottom: "f3" bottom: "label" top: "loss"
}}
"""
LAYER = """
layer {{
  name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
  inner_product_param {{ num_output: {outputs} weight_filler {{ type: "xavier" }} }}
}}
"""


class Project:
    """A project's folder with the tools, the network `linear`, its data and weights.

    activations: a_0 (the image as it is reconstructed), a_1 and a_2.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("tools", "swwae", "generator", "templates"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / folder, root / folder, ignore=ignored)
        for name in (".venv", "build"):
            (root / name).symlink_to(REPOSITORY / name)
        self._write_images()
        layers = [("f1", "data", 3), ("f2", "f1", 3), ("f3", "f2", 2)]
        text = NETWORK.format(
            scale=SCALE,
            batch=BATCH,
            layers="".join(
                LAYER.format(name=name, bottom=bottom, outputs=outputs)
                for name, bottom, outputs in layers
            ),
        )
        (root / "linear.prototxt").write_text(text)
        self.classifier = self._weights()
        self.generate()

    def generate(self, code: int = 0) -> str:
        python = self.root / ".venv/bin/python"
        return self.run([python, "-m", "generator", "linear.prototxt"], code)

    def tool(
        self,
        name: str,
        *arguments: object,
        code: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What a tool says, both streams. code: that it must end with."""
        command = [self.root / "tools" / name, "--net", "linear", *arguments]
        return self.run(command, code, environment)

    def run(
        self,
        command: Sequence[object],
        code: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        process = self.start(command, environment)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == code, output
        assert "Traceback" not in output
        return output

    def start(
        self, command: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | dict(environment or {}),
        )

    def vary_images(self) -> None:
        """Each one brighter than the one before."""
        self._write_images(range(IMAGES))

    def _write_images(self, added: Sequence[int] = (0,) * IMAGES) -> None:
        folder = self.root / "data" / "train_lmdb"
        folder.mkdir(parents=True, exist_ok=True)
        environment = lmdb.open(str(folder), map_size=1 << 20)
        with environment.begin(write=True) as transaction:
            for index, each in enumerate(added):
                datum = caffe_pb2.Datum(
                    channels=1,
                    height=2,
                    width=2,
                    data=(IMAGE + np.uint8(each)).tobytes(),
                    label=1,
                )
                transaction.put(f"{index:08}".encode(), datum.SerializeToString())
        environment.close()

    def _weights(self) -> Path:
        """The classifier's: a_1 of much energy, a_2 of little, scores all 0."""
        rng = np.random.Generator(np.random.PCG64(1))
        image = IMAGE.ravel() * SCALE
        first = rng.normal(size=(3, 4))
        first *= 3 / np.linalg.norm(first @ image)
        second = rng.normal(size=(3, 3))
        second *= 0.5 / np.linalg.norm(second @ first @ image)
        self.activations = [image, first @ image, second @ first @ image]
        network = caffe_pb2.NetParameter()
        arrays = {"f1": first, "f2": second, "f3": np.zeros((2, 3))}
        for name, weight in arrays.items():
            layer = network.layer.add(name=name)
            for values in (weight, np.zeros(len(weight))):
                blob = layer.blobs.add()
                blob.shape.dim.extend(values.shape)
                blob.data.extend(values.ravel())
        path = self.root / "classifier.caffemodel"
        path.write_bytes(network.SerializeToString())
        return path


def expected(energy: float, rate: float, iterations: int) -> list[float]:
    """A decoder's loss before each update, in units of the first.

    energy: of the activation that it reads.
    """
    residual, update = 1.0, 0.0
    losses = []
    for _ in range(iterations):
        losses.append(residual**2)
        update = MOMENTUM * update + rate * (energy + 2) * residual
        residual -= update
    return losses
