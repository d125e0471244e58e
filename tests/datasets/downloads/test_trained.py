"""From a download to trained networks, by the commands that each step prints."""

import json
import shlex
import shutil
import subprocess

import pytest

from swwae.base.project import ROOT
from tests.helpers import downloads


@pytest.fixture
def project(tmp_path):
    """A copy of the project without databases and generated files."""
    root = tmp_path / "project"
    leave_out = shutil.ignore_patterns("__pycache__", "*_lmdb")
    for name in ("tools", "swwae", "generator", "templates", "data"):
        shutil.copytree(ROOT / name, root / name, ignore=leave_out)
    for name in (".venv", "build"):
        (root / name).symlink_to(ROOT / name)
    return root


def run(project, *command):
    done = subprocess.run(
        list(map(str, command)), cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(project, net, *stages):
    for stage in stages:
        options = ["--net", net, "--variant", "swwae-all", "--max-iter", "2"]
        run(project, "tools/run_stage.sh", stage, *options)


def generator_command(said):
    """The command that creating the databases has printed."""
    [line] = [line for line in said.splitlines() if "-m generator" in line]
    return shlex.split(line.partition(": ")[2])


def test_cifar_100_with_all_labels_and_with_few(project, tmp_path):
    downloads.cifar100_python(tmp_path / "cifar-100-python")
    archive = downloads.packed(tmp_path / "cifar-100-python", tmp_path / "it.tar.gz")
    said = run(project, "data/cifar/create.py", "--source", archive, "--subset")
    command = generator_command(said)
    run(project, *command)
    train(project, "cifar100", 0, 1, 2, 3, 4)
    evaluate = ["tools/evaluate.py", "--net", "cifar100", "--variant", "swwae-all"]
    run(project, *evaluate, "--json", "result.json")
    result = json.loads((project / "result.json").read_text())
    assert result["images"] == 200 and 0 < result["top1_error"] <= 100
    assert result["recon_l2"] > 0

    place = command.index("--name")
    del command[place : place + 2]
    run(project, "data/few_labels.py", "--data", "data/cifar100", "--labels", 150)
    run(project, "data/cifar/create.py", "--check", "--out", "data/cifar100")
    run(project, *command, "--labels", 150)
    train(project, "vgg8_32_classes100_labels150", 0)


def test_a_small_network_says_that_it_has_to_be_generated(project):
    done = subprocess.run(
        ["tools/run_stage.sh", "0", "--net", "vgg10_96"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "run .venv/bin/python -m generator vgg10_96" in done.stderr


def test_stl_10s_own_images_without_labels(project, tmp_path):
    downloads.stl10(tmp_path / "stl10_binary")
    source = ("--source", tmp_path / "stl10_binary", "--subset")
    command = generator_command(run(project, "data/stl10/create.py", *source))
    said = run(project, "data/few_labels.py", "--data", "data/stl10", "--labels", 20)
    assert "unlabelled_lmdb is there already" in said
    assert "--force" not in said
    run(
        project, "data/few_labels.py", "--data", "data/stl10", "--labels", 20, "--force"
    )
    info = json.loads((project / "data/stl10/unlabelled_lmdb/info.json").read_text())
    assert info["images"] == 40
    run(project, *command, "--labels", 20)
    train(project, "stl10", 0, 1, 2)
