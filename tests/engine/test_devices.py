"""What Caffe computes on, by a program that answers as Caffe would."""

import pytest

from generator.errors import UserError
from swwae.engine import devices


def test_the_environment_reaches_the_query_for_gpus(tmp_path, monkeypatch):
    program = tmp_path / "caffe"
    program.write_text(
        '#!/bin/sh\necho "Device id: $CUDA_VISIBLE_DEVICES" >&2\n'
        '[ "$GLOG_logtostderr" = 1 ]\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert devices.choose(program, None) == ([3], "GPU 3")


@pytest.fixture
def caffe(tmp_path):
    """A program with two GPUs, 0 and 3, or without any where NO_GPU is set."""
    program = tmp_path / "caffe"
    program.write_text(
        "#!/bin/sh\n"
        '[ -z "$NO_GPU" ] || {\n'
        '  echo "F1124 06:20:42.123456 77 common.cpp:9] $NO_GPU" >&2; exit 134; }\n'
        'for gpu in 0 3; do echo "I1124 x] Device id:                     $gpu" >&2\n'
        "done\n"
    )
    program.chmod(0o755)
    return program


def test_the_first_gpu_is_taken_where_none_is_named(caffe, monkeypatch):
    assert devices.choose(caffe, None) == ([0], "GPU 0; 2 found, --gpu chooses")
    assert devices.choose(caffe, "all") == ([0, 3], "GPU 0, 3")
    monkeypatch.setenv("NO_GPU", "Cannot use GPU in CPU-only Caffe: check mode.")
    assert devices.choose(caffe, None) == ([], "CPU (no GPU found)")


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            "Cannot use GPU in CPU-only Caffe: check mode.",
            "--gpu 7: this Caffe was built for the CPU alone; leave --gpu out.",
        ),
        (
            "Check failed: invalid device ordinal",
            "--gpu 7: no such GPU (Caffe: Check failed: invalid device ordinal);"
            " leave --gpu out for the CPU.",
        ),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(caffe, monkeypatch, reason, sentence):
    monkeypatch.setenv("NO_GPU", reason)
    with pytest.raises(UserError) as refusal:
        devices.choose(caffe, "7")
    assert str(refusal.value) == sentence
