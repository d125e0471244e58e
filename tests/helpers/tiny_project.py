"""A copy of the project with a network of a few hundred parameters, and its data.

The network's decoder is one deconvolution, so that Caffe's stock layers do.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import lmdb
import numpy as np
from caffe.proto import caffe_pb2

REPOSITORY = Path(__file__).resolve().parents[2]

IMAGES, BATCH = 32, 8
EPOCH = IMAGES // BATCH  # iterations after which Caffe's data begin anew
ENCODER = ("conv1",)
CLASSIFIER = ("fc2",)
DECODER = ("dec:conv1",)
LOSS = "dec:loss@data"

DATA = """
layer {{
  name: "data" type: "Data" top: "data" {label} include {{ phase: {phase} }}
  transform_param {{ scale: 0.00390625 }}
  data_param {{ source: "data/tiny/{source}" backend: LMDB batch_size: {batch} }}
}}
"""
CONV = """
layer {{
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param {{ lr_mult: {lr} }} param {{ lr_mult: {lr} }}
  convolution_param {{
    num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }}
  }}
}}
layer {{ name: "conv1/relu" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{
  name: "conv1/pool" type: "Pooling" bottom: "conv1" top: "conv1/pool"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
"""
FC = """
layer {
  name: "fc2" type: "InnerProduct" bottom: "conv1/pool" top: "fc2"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "label" top: "loss" }
layer {
  name: "accuracy" type: "Accuracy" bottom: "fc2" bottom: "label" top: "accuracy"
  include { phase: TEST }
}
"""
DEC = """
layer {{
  name: "dec:conv1" type: "Deconvolution" bottom: "conv1/pool" top: "dec:data"
  convolution_param {{
    num_output: 1 kernel_size: 2 stride: 2
    weight_filler {{ type: "gaussian" std: 0.01 }}
  }}
}}
layer {{
  name: "dec:loss@data" type: "EuclideanLoss" bottom: "dec:data" bottom: "data"
  top: "dec:loss@data" loss_weight: {weight}
}}
"""
DEPLOY = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
"""
SOLVER = """
net: "models/{place}/{kind}.prototxt"
base_lr: {base_lr} lr_policy: "fixed" momentum: 0.9 max_iter: {max_iter}
display: {display} snapshot: {snapshot} snapshot_prefix: "elsewhere"
test_iter: 2 test_interval: {max_iter} test_initialization: false random_seed: 5
"""


def data(label: bool) -> str:
    top = 'top: "label"' if label else ""
    return DATA.format(
        phase="TRAIN", source="train_lmdb", label=top, batch=BATCH
    ) + DATA.format(phase="TEST", source="test_lmdb", label=top, batch=BATCH)


class Project:
    """A project's folder with the tools, one tiny network and its data."""

    net = "tiny"

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("tools", "swwae", "generator"):
            shutil.copytree(
                REPOSITORY / folder,
                root / folder,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        for name in (".venv", "build"):
            (root / name).symlink_to(REPOSITORY / name)
        for variant in ("baseline", "swwae-layerwise", "swwae-all"):
            self.write_networks(variant)
        self.write_solver("baseline", 0, max_iter=4 * EPOCH)
        self.write_solver("baseline", 4)
        self.write_solver("swwae-layerwise", 2)
        self.write_solver("swwae-layerwise", 4)
        self.write_solver("swwae-all", 3)
        self.write_solver("swwae-all", 4)
        write_images(root / "data" / "tiny")

    def write_networks(self, variant: str, outputs: int = 4) -> None:
        decoder = "" if variant == "baseline" else DEC.format(weight=0.5)
        frozen = CONV.format(lr=0, outputs=outputs)
        trained = CONV.format(lr=1, outputs=outputs)
        folder = self.root / "models" / "tiny" / variant
        folder.mkdir(parents=True, exist_ok=True)
        joint = data(label=True) + trained + FC + decoder
        (folder / "train_val.prototxt").write_text(joint)
        (folder / "deploy.prototxt").write_text(DEPLOY + frozen)
        if decoder:
            alone = data(label=False) + frozen + DEC.format(weight=1)
            for kind in ("pretrain", "decoder"):
                (folder / f"{kind}.prototxt").write_text(alone)

    def write_solver(
        self,
        variant: str,
        stage: int,
        max_iter: int = 2 * EPOCH,
        base_lr: float = 0.01,
        snapshot: int = EPOCH,
        display: int = 2,
    ) -> None:
        place = f"tiny/{variant}"
        path = self.root / "solvers" / place / f"stage{stage}.prototxt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            SOLVER.format(
                place=place,
                kind={2: "pretrain", 3: "decoder"}.get(stage, "train_val"),
                base_lr=base_lr,
                max_iter=max_iter,
                snapshot=snapshot,
                display=display,
            )
        )

    def start(
        self, *arguments: str | int | Path, runs: str = "runs"
    ) -> subprocess.Popen[str]:
        """Starts run_stage.sh. arguments: the stage, and options; runs: RUNS_DIR."""
        stage, *options = map(str, arguments)
        return subprocess.Popen(
            [self.root / "tools" / "run_stage.sh", stage, "--net", self.net, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root.parent,
            env=os.environ | {"RUNS_DIR": runs},
        )

    def run(
        self, *arguments: str | int | Path, code: int = 0, runs: str = "runs"
    ) -> str:
        """Returns what run_stage.sh says, both streams. code: that it must end with;
        the rest as of `start`."""
        process = self.start(*arguments, runs=runs)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == code, output
        assert "Traceback" not in output
        return output

    def folder(self, variant: str, stage: int) -> Path:
        return self.root / "runs" / self.net / variant / f"stage{stage}"

    def status(self, variant: str, stage: int) -> dict:
        return json.loads((self.folder(variant, stage) / "status.json").read_text())


DEPTH = 2
"""Macro-layers of the network `deep`."""


class DeepProject(Project):
    """Has a network of several macro-layers, too, which the generator makes."""

    net = "deep"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        shutil.copytree(REPOSITORY / "templates", root / "templates")
        layers, bottom = [data(label=True)], "data"
        for number in range(1, DEPTH + 1):
            text = CONV.format(lr=1, outputs=2 + 2 * number)
            text = text.replace("conv1", f"conv{number}")
            layers.append(text.replace('bottom: "data"', f'bottom: "{bottom}"'))
            bottom = f"conv{number}/pool"
        layers.append(FC.replace("conv1/pool", bottom))
        (root / "deep.prototxt").write_text("".join(layers))
        python = root / ".venv/bin/python"
        words = ["deep.prototxt", "--name", "deep", "--variant", "swwae-all"]
        rates = ["--base-lr", "2=0.0005"]
        subprocess.run(
            [python, "-m", "generator", *words, *rates],
            cwd=root,
            check=True,
            capture_output=True,
        )

    @property
    def stage_2(self) -> Path:
        """The solver of stage 2."""
        return self.root / "solvers/deep/swwae-layerwise/stage2.prototxt"

    def part(self, macro_layer: int) -> Path:
        """The folder of a part of stage 2."""
        return self.folder("swwae-layerwise", 2) / f"macro-layer-{macro_layer}"


def write_images(folder: Path) -> None:
    """Two classes, told apart by where the image is bright."""
    rng = np.random.Generator(np.random.PCG64(1))
    for name in ("train_lmdb", "test_lmdb"):
        folder.mkdir(parents=True, exist_ok=True)
        environment = lmdb.open(str(folder / name), map_size=1 << 20)
        with environment.begin(write=True) as transaction:
            for index in range(IMAGES):
                image = rng.integers(0, 100, (1, 8, 8))
                image[:, : 4 * (index % 2) + 4] += 100
                datum = caffe_pb2.Datum(
                    channels=1,
                    height=8,
                    width=8,
                    data=image.astype(np.uint8).tobytes(),
                    label=index % 2,
                )
                transaction.put(f"{index:08}".encode(), datum.SerializeToString())
        environment.close()
