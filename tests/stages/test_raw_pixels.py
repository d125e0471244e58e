"""A user's network that is fed 0..255: the generated rates, and what is said where they
are too high."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.tiny_project import REPOSITORY, Project

MEAN = "transform_param { mean_value: 110 }"
NETWORK = """
name: "raw"
layer {{
  name: "data" type: "Data" top: "data" top: "label" {transform}
  data_param {{ source: "data/tiny/train_lmdb" backend: LMDB batch_size: 8 }}
}}
layer {{
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{
    num_output: 16 kernel_size: 5 pad: 2 weight_filler {{ type: "msra" }}
  }}
}}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{
  name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
layer {{
  name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param {{
    num_output: 16 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
  }}
}}
layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
layer {{
  name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
layer {{
  name: "fc3" type: "InnerProduct" bottom: "pool2" top: "fc3"
  inner_product_param {{ num_output: 2 weight_filler {{ type: "msra" }} }}
}}
layer {{
  name: "loss" type: "SoftmaxWithLoss" bottom: "fc3" bottom: "label" top: "loss"
}}
"""


@pytest.fixture
def raw(project):
    """The tiny project, and `raw` generated in it."""
    shutil.copytree(REPOSITORY / "templates", project.root / "templates")

    def generate(transform: str = "", *options: str) -> Project:
        (project.root / "raw.prototxt").write_text(NETWORK.format(transform=transform))
        said = subprocess.run(
            [project.root / ".venv/bin/python", "-m", "generator", "raw.prototxt"]
            + list(options),
            cwd=project.root,
            capture_output=True,
            text=True,
        )
        assert said.returncode == 0, said.stderr
        return project

    return generate


def run(project: Project, stage: int, *options: object, code: int = 0) -> str:
    return project.run(
        stage, "--net", "raw", "--variant", "swwae-all", *options, code=code
    )


def folder(project: Project, variant: str, stage: int) -> Path:
    return project.root / "runs/raw" / variant / f"stage{stage}"


@pytest.mark.parametrize("transform", ["", MEAN], ids=["raw", "mean"])
def test_no_stage_diverges_at_the_generated_rates(raw, transform):
    project = raw(transform)
    for stage in range(5):
        options = () if stage == 1 else ("--max-iter", 30)
        said = run(project, stage, *options)
        assert "is finished" in said
        assert "warning" not in said, said


def test_a_stage_that_diverged_names_the_search_of_rates_which_then_begins(raw):
    project = raw("", "--base-lr", "2=1000")
    run(project, 0, "--max-iter", 4)
    run(project, 1)
    said = run(project, 2, "--max-iter", 20, code=1)
    command = "tools/find_lr.py --net raw --family swwae"
    assert "start over: tools/run_stage.sh 2 --net tiny --net raw" in said
    assert f"--force {command} finds the rates of stage 2" in said
    found = subprocess.run(
        [*shlex.split(command), "--iterations", "2", "--per-decade", "1"]
        + ["--from", "1e-12", "--to", "1e-10"],
        cwd=project.root,
        capture_output=True,
        text=True,
    )
    assert "macro-layer" in found.stdout, found.stderr


def test_without_stage_1_the_search_takes_the_weights_that_were_given(raw):
    project = raw("", "--base-lr", "2=1000")
    run(project, 0, "--max-iter", 4)
    final = "runs/raw/baseline/stage0/final.caffemodel"
    weights = project.root / final
    said = run(project, 2, "--weights", weights, "--max-iter", 20, code=1)
    command = f"tools/find_lr.py --net raw --family swwae --weights {final}"
    assert command in said
    begun = subprocess.run(
        [*shlex.split(command), "--dry-run"],
        cwd=project.root,
        capture_output=True,
        text=True,
    )
    assert begun.returncode == 0, begun.stderr


def test_stage_0_that_diverged_has_no_decoders_to_search_for(raw):
    project = raw("", "--base-lr", "0=1e18")
    said = run(project, 0, "--max-iter", 20, code=1)
    assert "Lower base_lr (1e+18)" in said and "find_lr" not in said
