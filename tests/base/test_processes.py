"""Processes beside this one: their results, their ends, and what they survive."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swwae.base import processes
from swwae.base.processes import EndedEarly, holds_gpu, isolated
from tests.helpers import answers

ROOT = Path(__file__).resolve().parents[2]
GPU = ["/dev/null", "socket:[7]", "/dev/nvidiactl", "/dev/nvidia0"]


def open_files(monkeypatch, targets):
    monkeypatch.setattr(processes, "_open_files", lambda: iter(targets))


@pytest.fixture(params=["forked", "spawned"])
def way(request, monkeypatch):
    open_files(monkeypatch, GPU if request.param == "spawned" else [])
    return request.param


def test_what_is_open_tells_of_a_gpu(monkeypatch, tmp_path):
    assert not holds_gpu()
    with (tmp_path / "nvidia0").open("w") as file:
        assert file.name in processes._open_files()
        assert not holds_gpu()  # no device of that name
    open_files(monkeypatch, GPU)
    assert holds_gpu()
    open_files(monkeypatch, ["/dev/null", "/usr/share/dev/nvidia0", "pipe:[1]"])
    assert not holds_gpu()


def test_a_process_that_holds_a_gpu_is_not_forked(way, monkeypatch):
    def refuse(*_):
        raise AssertionError("the other way was taken")

    other = {"forked": "_spawn", "spawned": "_fork"}[way]
    monkeypatch.setattr(processes, other, refuse)
    assert isolated(answers.doubled, 21) == 42


def test_a_result_comes_back(way):
    child, parent = isolated(answers.process)
    assert child != os.getpid() and parent == os.getpid()
    assert isolated(answers.large, 100_000) == list(range(100_000))
    assert isolated(answers.doubled, "a") == "aa"


def test_an_exception_comes_back(way):
    with pytest.raises(ValueError, match="expected 3, found 4"):
        isolated(answers.refuse, "expected 3, found 4")


def test_what_ends_a_process_is_told_with_its_last_words(way):
    with pytest.raises(EndedEarly) as end:
        isolated(answers.end_by_signal)
    assert end.value.code == -signal.SIGKILL
    assert end.value.lines == ["from Python", "from C"]


def test_a_process_that_leaves_gives_no_result(way):
    with pytest.raises(EndedEarly) as end:
        isolated(answers.leave, 3)
    assert (end.value.code, end.value.lines) == (3, [])


def test_a_result_that_cannot_be_sent_is_told(way):
    with pytest.raises(EndedEarly) as end:
        isolated(answers.unsendable)
    assert end.value.code == 1 and "cannot pickle" in end.value.lines[-1]


def test_nothing_stays_open(way):
    isolated(answers.doubled, 1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        isolated(answers.doubled, 1)
        with pytest.raises(EndedEarly):
            isolated(answers.leave, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_spawning_runs_the_main_program_once(tmp_path):
    """A script without `if __name__ == "__main__"` may use the library on a GPU."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from swwae.base import processes\n"
        "from tests.helpers import answers\n"
        "processes._open_files = lambda: ['/dev/nvidia0']\n"
        "print(processes.isolated(answers.doubled, 4))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("8\n", "")


@pytest.mark.parametrize("targets", [[], GPU], ids=["forked", "spawned"])
def test_it_ends_with_a_parent_that_is_killed(targets, tmp_path):
    note = tmp_path / "begun"
    script = (
        "from swwae.base import processes\n"
        "from tests.helpers import answers\n"
        f"processes._open_files = lambda: {targets!r}\n"
        f"processes.isolated(answers.outlive, {str(note)!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as parent:
        wait_until(lambda: note.exists() and note.read_text())
        parent.kill()
    child = Path(f"/proc/{note.read_text()}/exe")
    wait_until(lambda: not child.exists())


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


NETWORK = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 16 dim: 3 dim: 64 dim: 64 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 64 kernel_size: 3 engine: %s } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 64 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("engine", ["CAFFE", "DNNL"])
def test_caffe_computes_after_a_fork_though_it_had_threads(engine, tmp_path):
    """GNU's OpenMP would wait forever for the threads that the fork has left behind."""
    network = tmp_path / "net.prototxt"
    network.write_text(NETWORK % engine)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "import caffe\n"
        "from swwae.base.processes import isolated\n"
        "def forward(path):\n"
        "    net = caffe.Net(path, caffe.TEST)\n"
        "    net.forward()\n"
        "    return net.blobs['fc'].shape[0]\n"
        "forward(sys.argv[1])\n"
        "threads = len(os.listdir('/proc/self/task'))\n"
        "print(threads > 1, isolated(forward, sys.argv[1]))\n"
    )
    environment = os.environ | {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "PYTHONPATH": str(ROOT),
        "GLOG_minloglevel": "2",
    }
    done = subprocess.run(
        [sys.executable, script, network],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
    )
    assert done.stdout == "True 16\n", done.stderr


def test_a_parent_that_ended_before_its_child_asked_is_noticed():
    asked = "import os; from swwae.base.processes import end_with_parent as end;"
    for parent, code in (("os.getppid()", 0), ("1 + os.getppid()", -signal.SIGKILL)):
        done = subprocess.run(
            [sys.executable, "-c", f"{asked} end(parent={parent})"], cwd=ROOT
        )
        assert done.returncode == code
