"""The interpreter that has PyTorch, which may be another one than this."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.bench import gpu_setup, setup
from swwae.bench.gpu_setup import torch_refusal
from swwae.bench.job import Job
from swwae.bench.worker import environment


def job(kind="caffe", math="fp32", **more) -> Job:
    return Job(kind, 1, "", "", "", "", True, gpu=0, math=math, **more)


def interpreter(path: Path, command: str) -> Path:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


def test_another_interpreter_is_asked_for_torch(tmp_path):
    bare = interpreter(tmp_path / "python", f"{sys.executable} -S -E")
    assert torch_refusal(bare) == (
        f"{bare} has no torch: name a Python that has it with --torch-python"
    )
    own = interpreter(tmp_path / "own", sys.executable)
    assert (torch_refusal(own) is None) == setup.has_torch()
    with pytest.raises(UserError, match="there is no such program"):
        torch_refusal(tmp_path / "nowhere")
    broken = interpreter(tmp_path / "broken", "false")
    with pytest.raises(UserError, match="is no Python that works: exit code 1"):
        torch_refusal(broken)


@pytest.mark.parametrize(
    ("program", "words"), [("true", "it says 'nothing'"), ("echo", 'it says "print')]
)
def test_what_is_no_python_is_told_of(tmp_path, program, words):
    other = interpreter(tmp_path / "python", program)
    with pytest.raises(UserError, match="is no Python: asked") as refusal:
        torch_refusal(other)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_interpreter_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_setup, "PROBE_SECONDS", 0.2)
    slow = interpreter(tmp_path / "python", "sleep 20; :")
    with pytest.raises(UserError, match="has not answered within 0.2 seconds"):
        torch_refusal(slow)


def test_another_interpreter_gets_nothing_of_this_one(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "here")
    folders = [str(ROOT / "build/lib"), "/usr/lib/other"]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(folders))
    other = environment(job("torch", python="/opt/python"))
    assert "PYTHONPATH" not in other and other["LD_LIBRARY_PATH"] == "/usr/lib/other"
    ours = environment(job(math="tf32"))
    assert ours["PYTHONPATH"] == "here" and ours["CAFFE_GPU_MATH"] == "tf32"
    assert "CAFFE_GPU_MATH" not in environment(Job("caffe", 1, "", "", "", "", True))


def test_torchs_side_needs_no_pycaffe(tmp_path):
    pytest.importorskip("torch")
    code = """
import sys
from importlib import import_module
from pathlib import Path
for name in ("caffe", "jinja2", "scipy", "skimage", "cv2", "lmdb", "matplotlib"):
    sys.modules[name] = None  # an import raises
import swwae.bench.serve
import_module("swwae.bench.torch_side")
from generator.schema import read
read(Path("models/vgg8/swwae-all/train_val.prototxt"))
read(Path("solvers/vgg8/swwae-all/stage4.prototxt"), "SolverParameter")
print(*(name for name in sys.modules if name.startswith("swwae.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert "swwae.bench.torch_card" in imported
    assert {name.split(".")[1] for name in imported} == {"bench"}


def test_torch_without_a_card_says_so(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    from swwae.bench import torch_card
    from swwae.bench.job import Refused

    with pytest.raises(Refused, match="finds no card here: .* --torch-python"):
        torch_card.open_card(job("torch"))
