"""tools/bench.py: its workers, and the command on a small network."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.bench import (
    rounds,
    setup,
    table,
)
from swwae.bench.contender import Contender
from swwae.bench.job import Job, Refused
from swwae.bench.worker import Worker
from swwae.commands import bench

PROGRAM = ROOT / "tools/bench.py"
SMALL = ("--net", "vgg8", "--batch", "2", "--threads", "1")
QUICK = ("--rounds", "1", "--seconds", "0.01")


def run_bench(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PROGRAM, *arguments], check=False, capture_output=True, text=True
    )


# --- workers


def fake_worker(monkeypatch, tmp_path: Path, text: str) -> None:
    program = tmp_path / "worker.py"
    program.write_text("import json, os, signal, sys, time\n" + text)
    monkeypatch.setattr("swwae.bench.worker.SERVE", (sys.executable, str(program)))


JOB = Job("caffe", 1, "", "", "", "", True)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", UserError, "while it built .* memory"),
        ("sys.exit('no room')", UserError, "it built the network: no room"),
        ("print(json.dumps({'refused': 'no'}), flush=True)", Refused, "^no$"),
        (
            "sys.exit('F1125 19:00:00.000000    17 net.cpp:1] Check failed: it is so')",
            Refused,
            "Caffe refuses the network: Check failed: it is so",
        ),
    ],
)
def test_a_worker_that_dies_is_told(text, error, sentence, monkeypatch, tmp_path):
    fake_worker(monkeypatch, tmp_path, text)
    with pytest.raises(error, match=sentence):
        Worker(JOB, "CAFFE, batch 8")


def test_a_worker_that_dies_later_is_told(monkeypatch, tmp_path):
    text = "print('{}', flush=True); input(); os.kill(os.getpid(), signal.SIGKILL)"
    fake_worker(monkeypatch, tmp_path, text)
    worker = Worker(JOB, "CAFFE, batch 8")
    with pytest.raises(UserError, match="CAFFE, batch 8 ended while .* --batch"):
        worker.ask(steps=1)
    worker.close()


STEPPING = """
print('{}', flush=True)
mine = sys.argv[1]
for line in sys.stdin:
    count = json.loads(line)["steps"]
    with open(os.environ["DIARY"], "a") as file:
        print(json.loads(mine)["net"], os.getpid(), count, file=file)
    memory = {"peak": 2 << 40}
    answer = {"milliseconds": [5.0] * count, "loss": 1.0, "others": 0.0, **memory}
    print(json.dumps(answer), flush=True)
"""


@pytest.mark.parametrize("roomy", [True, False])
def test_turns_rotate_and_short_memory_ends_processes(roomy, monkeypatch, tmp_path):
    fake_worker(monkeypatch, tmp_path, STEPPING)
    diary = tmp_path / "diary"
    monkeypatch.setenv("DIARY", str(diary))
    monkeypatch.setattr(rounds, "available_memory", lambda: (3 if roomy else 1) << 40)
    jobs = [Job("caffe", 1, name, "", "", "", True) for name in "abc"]
    three = [Contender(job.net, 1, job, job) for job in jobs]
    said = []
    turns_of = rounds.Rounds(three, said.append)
    try:
        turns_of.warm_up(0.02)
        for number in range(2):
            turns_of.round(number)
    finally:
        turns_of.close()
    lines = [line.split() for line in diary.read_text().splitlines()]
    turns = [name for name, _, count in lines if count == "4"]  # 20 ms of 5 ms
    assert turns == ["a", "b", "c", "b", "c", "a"]
    assert all(each.times == [5, 5] for each in three)
    processes = {pid for _, pid, _ in lines}
    assert len(processes) == 3 if roomy else len(processes) > 6
    assert turns_of.kept == roomy == (not [text for text in said if "memory" in text])


# --- the command

# multiply-adds of an image: conv1_1, conv1_2, ..., conv3_2, and those that undo them
ENCODER = [9 * n for n in (32**2 * 16, 32**2 * 16**2, 16**2 * 16 * 32, 16**2 * 32**2)]


ENCODER += [9 * n for n in (8**2 * 32 * 64, 8**2 * 64**2)]


# Numbers that an image's pooling reads and writes: of 4 values one, and its switch.
POOLED = (16 * 32**2 + 32 * 16**2 + 64 * 8**2) * 3 // 2


def test_vgg8_is_measured(tmp_path):
    """Of stage 2 the decoders' weights get gradients, and their second layers' data."""
    made = tmp_path / "bench.json"
    done = run_bench(
        *(*SMALL, "--stage", "2", "--variant", "swwae-all", *QUICK),
        *("--layers", "--json", made),
    )
    assert done.returncode == 0, done.stderr
    assert "stage 2 of vgg8/swwae-layerwise" in done.stdout
    content = json.loads(made.read_text())
    caffe, dnnl, *torch = content["contenders"]
    forward, data = 2 * sum(ENCODER), sum(ENCODER[::2])
    assert content["operations"]["2"] == {
        "forward": 4 * forward,
        "data": 4 * data,
        "weights": 4 * sum(ENCODER),
        "total": 4 * (forward + data + sum(ENCODER)),
    }
    assert (caffe["name"], dnnl["name"]) == ("CAFFE", "DNNL")
    assert [one["name"] for one in torch] == ["PyTorch", "PyTorch, channels last"]
    if not setup.has_torch():
        assert all("is not installed" in one["refused"] for one in torch)
        torch = []
    for one in (caffe, dnnl, *torch):
        assert one["ms"] > 0 and one["peak_memory"] > 2**20 and one["finite"]
        assert one["images_per_second"] == pytest.approx(2000 / one["ms"])
        operations = content["operations"]["2"]["total"]
        assert one["gflop_per_second"] == pytest.approx(operations / one["ms"] / 1e6)
        assert one["times_caffe"] == pytest.approx(caffe["ms"] / one["ms"])
        assert {*one["differences"]} == {"outputs", "gradients"}
        for found in one["differences"].values():
            assert 0 < found["l2"] < (0.1 if one is caffe else 1e-4)
    for one in (caffe, dnnl):
        layers = one["layers_ms"]
        assert layers["Deconvolution"][1] > layers["Input"][1]
        rates = one["gigabytes_per_second"]
        assert rates["copying"][0] == rates["copying"][1] > 0
        assert rates["Pooling"][1] == 0  # of a fixed encoder nobody wants gradients
        moved = rates["Pooling"][0] * layers["Pooling"][0] / 1000
        assert moved <= 1.01 * POOLED * 4 * 2 / 1e9
    if torch:
        assert max(one["times_pytorch"] for one in torch) == 1
    assert "round 1 of 1" in done.stderr


def test_bandwidth_is_told_beside_a_copy():
    caffe, dnnl = (
        Contender(name, 8, None, None, gigabytes={"Pooling": rates}, copied=20.0)
        for name, rates in (("CAFFE", (5.0, 0.0)), ("DNNL", (15.0, 10.0)))
    )
    silent = Contender("PyTorch", 8, None, None)
    assert [
        line.split() for line in table.bandwidth([caffe, dnnl, silent]).splitlines()
    ] == [
        ["GB/s", "CAFFE", "DNNL"],
        ["Pooling", "forward", "5.0", "(25%)", "15.0", "(75%)"],
        ["Pooling", "backward", "-", "10.0", "(50%)"],
        ["copying", "20.0", "(100%)", "20.0", "(100%)"],
    ]
    assert table.bandwidth([silent]) == ""


def test_without_torch_the_row_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr("swwae.bench.setup.has_torch", lambda: False)
    monkeypatch.setattr("swwae.bench.record.has_torch", lambda: False)
    assert bench.main([*SMALL, *QUICK, "--engines", "torch"]) == 0
    said = capsys.readouterr().out
    assert "torch is not installed: run .venv/bin/pip install -e '.[torch]'" in said
    assert "PyTorch and PyTorch, channels last: " in said


def test_a_dry_run_times_nothing():
    done = run_bench(*SMALL, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0.2326 GFLOP a step" in done.stdout and "images/s" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--net", "vgg61"], "unknown network 'vgg61'"),
        (["--variant", "swwae"], "unknown variant 'swwae'"),
        (["--variant", "baseline", "--stage", "3"], "the baseline has none"),
        (["--stage", "1"], "invalid choice"),
        (["--batch", "0"], "'0' is no whole number from 1"),
        (["--batch", "4,x"], "'x' is no whole number from 1"),
        (["--threads", "1025"], "from 1 to 1024"),
        (["--engines", "dnnl,mkl"], "'mkl' is none of caffe, dnnl, torch"),
        (["--seconds", "nan"], "'nan' is no number of seconds"),
        (["--rounds", "-1"], "'-1' is no whole number"),
        (["--json", "nowhere/made.json"], "there is no folder nowhere"),
        (["--weights", "nowhere.caffemodel"], "the weights nowhere.caffemodel cannot"),
        (["--weights", "README.md"], "README.md is text"),
        (["--depth", "9"], "--depth 9: vgg8 can be decoded from 1 to"),
    ],
)
def test_mistakes_are_said(arguments, sentence, capsys):
    try:
        code = bench.main([*SMALL, *arguments])
    except UserError as error:
        said = str(error)
    except SystemExit as error:
        code, said = error.code, capsys.readouterr().err
        assert code == 2
    else:
        pytest.fail(f"exit code {code}")
    assert sentence in said


def test_a_mistake_ends_without_a_traceback():
    done = run_bench(*SMALL, "--weights", "README.md")
    assert done.returncode == 2
    assert done.stderr.startswith("bench.py: README.md is text")


def test_ctrl_c_ends_the_workers():
    process = subprocess.Popen(
        [PROGRAM, *SMALL, "--engines", "dnnl", "--rounds", "1000", "--seconds", "0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "ms a step" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    assert len(children.split()) == 2
    process.send_signal(signal.SIGINT)
    assert "bench.py: interrupted" in process.stderr.read()
    assert process.wait(20) == 130
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{pid}") for pid in children.split()):
            return
        time.sleep(0.05)
    pytest.fail("workers are left")
