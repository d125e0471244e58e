"""A project's folder with a network of two macro-layers, trained through its stages.

swwae-all is finished, and so is what it builds on; sae-first has failed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES, SIDE = 3, 8
IMAGES = {"train": 32, "test": 12}
FAULT = '<script>document.title = "run"</script><img src="x:" onerror="alert(1)">'
DATA = """
layer {{
  name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ mean_value: 60 scale: 0.00392156863 }}
  data_param {{ source: "data/tiny/{split}_lmdb" backend: LMDB batch_size: {batch} }}
}}
"""
CONVOLUTION = """
layer {{
  name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{
    num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
  }}
}}
layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}
layer {{
  name: "{name}/pool" type: "Pooling" bottom: "{name}" top: "{name}/pool"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
"""
HEAD = """
layer {
  name: "fc3" type: "InnerProduct" bottom: "conv2/pool" top: "fc3"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc3" bottom: "label" top: "loss" }
layer {
  name: "accuracy" type: "Accuracy" bottom: "fc3" bottom: "label" top: "accuracy"
  include { phase: TEST }
}
"""


class Project:
    """In a folder of its own; `photograph` is an image that is in no data set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("tools", "swwae", "generator", "templates"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / folder, root / folder, ignore=ignored)
        for name in (".venv", "build"):
            (root / name).symlink_to(REPOSITORY / name)
        self._write_images()
        (root / "tiny.prototxt").write_text(
            DATA.format(phase="TRAIN", split="train", batch=8)
            + DATA.format(phase="TEST", split="test", batch=6)
            + CONVOLUTION.format(name="conv1", bottom="data", outputs=4)
            + CONVOLUTION.format(name="conv2", bottom="conv1/pool", outputs=6)
            + HEAD
        )
        self._generate()
        self._generate("--variant", "swwae-all", "--depth", 1)
        for number in range(5):
            self.stage("swwae-all", number)
        failed = root / "runs/tiny/sae-first/stage3"
        failed.mkdir(parents=True)
        status = {"state": "failed", "iterations": 2, "max_iter": 8, "fault": FAULT}
        (failed / "status.json").write_text(json.dumps(status))

    def _generate(self, *options: object) -> None:
        python = self.root / ".venv/bin/python"
        given = ["tiny.prototxt", "--name", "tiny", *options]
        self.run([python, "-m", "generator", *given])

    def stage(
        self, variant: str, number: int, *options: object, **settings: str
    ) -> str:
        program = self.root / "tools/run_stage.sh"
        words = [program, number, "--net", "tiny", "--variant", variant, *options]
        return self.run(words, **settings)

    def status(self, place: str) -> dict:
        """Of a stage's folder, such as baseline/stage4."""
        return json.loads(self.path(place, "status.json").read_text())

    def path(self, place: str, name: str) -> Path:
        return self.root / "runs/tiny" / place / name

    def report(self, *arguments: object, code: int = 0) -> str:
        """What the tool says, both streams."""
        return self.run([self.root / "tools/report.py", *arguments], code)

    def python(self, program: str) -> object:
        """What a program that imports the library prints, as JSON."""
        command = [self.root / ".venv/bin/python", "-c", program]
        return json.loads(self.run(command))

    def run(self, command: Sequence[object], code: int = 0, **settings: str) -> str:
        done = subprocess.run(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root,
            env=self.environment(**settings),
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    @staticmethod
    def environment(**settings: str) -> dict[str, str]:
        return os.environ | {"OMP_NUM_THREADS": "1"} | settings

    def _write_images(self) -> None:
        """Three classes: a bar at the left, in the middle, or at the right.

        One image in four has another class's label: there are errors to count.
        """
        random = np.random.Generator(np.random.PCG64(1))
        for split, count in IMAGES.items():
            folder = self.root / f"data/tiny/{split}_lmdb"
            folder.mkdir(parents=True)
            environment = lmdb.open(str(folder), map_size=1 << 20)
            with environment.begin(write=True) as transaction:
                for index in range(count):
                    bar = index % CLASSES
                    label = (bar + (index % 4 == 3)) % CLASSES
                    image = random.integers(0, 90, (SIDE, SIDE)).astype(np.uint8)
                    image[:, 3 * bar : 3 * bar + 2] += 150
                    datum = caffe_pb2.Datum(
                        channels=1,
                        height=SIDE,
                        width=SIDE,
                        data=image.tobytes(),
                        label=label,
                    )
                    transaction.put(f"{index:08}".encode(), datum.SerializeToString())
            environment.close()
        self.photograph = self.root / "gradient.png"
        gradient = np.arange(SIDE**2, dtype=np.uint8).reshape(SIDE, SIDE) * 4
        Image.fromarray(gradient).save(self.photograph)
