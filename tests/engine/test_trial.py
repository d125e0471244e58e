"""Trials on GPUs, with a program that says what Caffe would before it ends."""

import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base import project
from swwae.engine import trial
from swwae.engine.trial import Trial
from tests.helpers.fake_gpu import CARDS, write_program

PREFIX = "1124 06:20:42.123456 77 caffe.cpp:9] "


@pytest.mark.parametrize(
    ("fatal", "words"),
    [
        (
            "Check failed: error == cudaSuccess (2 vs. 0)  out of memory",
            "GPU 0 (NVIDIA H200), which has 143,156 MB, ran out of memory: let less"
            " compute there at once, or make batch_size",
        ),
        (
            "Check failed: error (209 vs. 0)  no kernel image is available",
            "GPU 0 (NVIDIA H200) is none that this Caffe was built for: "
            "CUDA_ARCHITECTURES='90' fork/build.sh --cuda builds it for that. The log",
        ),
        ("Check failed: a == b", "Caffe stopped: Check failed: a == b. The log is"),
    ],
)
def test_what_a_card_cannot_do_is_a_sentence(tmp_path, monkeypatch, fatal, words):
    text = f"echo 'I{PREFIX}{CARDS[0]}'\necho 'F{PREFIX}{fatal}'\nexit 134\n"
    program = write_program(tmp_path / "build/bin/caffe", text)
    monkeypatch.setattr(trial, "CAFFE", program)
    solver = caffe_pb2.SolverParameter(net="net.prototxt")
    training = Trial(solver, project.ROOT / "none", tmp_path / "trial", gpu=0)
    with pytest.raises(UserError) as refusal:
        list(training.losses())
    assert words in str(refusal.value)
    assert "solver_mode: GPU" in (tmp_path / "trial.prototxt").read_text()
