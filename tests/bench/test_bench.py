"""tools/bench.py: its arithmetic, and the command on a small network."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.bench import (
    rounds,
    setup,
    table,
)
from swwae.bench.comparison import (
    Difference,
    largest_difference,
    relative_difference,
)
from swwae.bench.contender import Contender, fastest, references, speed_up
from swwae.bench.cost import Cost, step_cost
from swwae.bench.job import Job, Refused
from swwae.bench.network import (
    inputs_for,
    label_blobs,
    on_engine,
    outputs_of,
    with_inputs,
)
from swwae.bench.worker import Worker
from swwae.commands import bench
from swwae.nets import network

PROGRAM = ROOT / "tools/bench.py"
SMALL = ("--net", "vgg8", "--batch", "2", "--threads", "1")
QUICK = ("--rounds", "1", "--seconds", "0.01")


def run_bench(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PROGRAM, *arguments], check=False, capture_output=True, text=True
    )


def contender(name="CAFFE", batch=8, threads=1, times=(), **more) -> Contender:
    job = Job("caffe", threads, "", "", "", "", True)
    return Contender(name, batch, job, job, times=list(times), **more)


# --- arithmetic


def test_ratios_are_of_a_rounds_neighbours():
    """A machine that slows both in one round changes no ratio."""
    caffe = contender(times=[10, 100, 12])
    dnnl = contender("DNNL", times=[5, 50, 4])
    assert speed_up(dnnl, caffe) == 2  # of 2, 2, 3; the medians' would be 2.4
    assert speed_up(caffe, dnnl) == 0.5


def test_the_faster_pytorch_counts():
    caffe = contender(times=[10])
    slow = contender("PyTorch", times=[8])
    fast = contender("PyTorch, channels last", times=[5])
    refused = contender("DNNL", refused="it is so")
    own = [caffe, refused, slow, fast]
    assert references(own) == (caffe, fast)
    assert fastest([refused]) is None
    text = table.figures(own, Cost(10**9, 10**9, 10**9))
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][-4:] == ["GFLOP/s", "memory", "outputs", "gradients"]
    assert rows[1][:6] == ["CAFFE", "10", "10-10", "800", "1.00", "0.50"]
    assert rows[1][6] == "300"  # GFLOP/s: 3 in 10 ms
    assert rows[3][3:9] == ["5", "5-5", "1600", "2.00", "1.00", "600"]
    assert text.endswith("DNNL: it is so")


def test_growth_is_in_images():
    one = contender(batch=8, threads=1, times=[10])
    two = contender(batch=8, threads=2, times=[5])
    large = contender(batch=32, threads=1, times=[20])
    rows = [row.split() for row in table.growth([one, two, large]).splitlines()]
    assert rows[1:] == [
        ["CAFFE", "8", "1", "->", "2", "2.00"],
        ["CAFFE", "8", "->", "32", "1", "2.00"],
    ]
    assert table.growth([one, contender("DNNL", times=[1])]) == ""


def test_differences_are_relative_to_the_reference():
    expected = np.array([3e-30, 4e-30], np.float32)  # whose squares are 0 in float32
    found = expected + np.array([0, 5e-32], np.float32)
    l2, most = relative_difference(expected, found)
    assert l2 == pytest.approx(0.01, rel=1e-3)
    assert most == pytest.approx(0.0125, rel=1e-3)
    zero = np.zeros(2, np.float32)
    assert relative_difference(zero, zero) == (0, 0)
    assert relative_difference(zero, found) == (np.inf, np.inf)
    nan = np.array([np.nan, 1], np.float32)
    found = largest_difference(
        {"a": (0.1, 0.3), "b": (0.2, 0.1), "c": relative_difference(expected, nan)}
    )
    assert found == Difference(np.inf, "c", np.inf, "c")
    assert largest_difference({"a": (0.1, 0.3), "b": (0.2, 0.1)}) == Difference(
        0.2, "b", 0.3, "a"
    )


@pytest.mark.parametrize(
    ("found", "own", "code"),
    [(9e-4, 0, 0), (2e-3, 0, 1), (2e-3, 3e-3, 0), (np.inf, 3e-3, 1)],
)
def test_another_result_fails(found, own, code, capsys):
    def both(l2: float) -> dict[str, Difference]:
        one = Difference(l2, "conv1", l2, "conv1")
        return {"outputs": Difference(0, "loss", 0, "loss"), "gradients": one}

    caffe = contender(differences=both(own))
    dnnl = contender("DNNL", differences=both(found))
    assert bench._judge([caffe, dnnl]) == code
    said = capsys.readouterr().err
    assert ("DNNL, batch 8, 1 thread: gradients of conv1 differ" in said) == bool(code)


def test_a_loss_that_is_not_finite_fails(capsys):
    assert bench._judge([contender(finite=False)]) == 1
    assert "the loss is not finite" in capsys.readouterr().err


# --- networks

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mean_value: 10 mean_value: 20 scale: 0.5 }
  data_param { source: "nowhere" batch_size: 6 } }
layer { name: "data" type: "Data" top: "data" include { phase: TEST }
  data_param { source: "nowhere" batch_size: 9 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "conv1/relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
  inner_product_param { num_output: 7 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "dec" type: "Deconvolution" bottom: "conv2" top: "dec"
  convolution_param { num_output: 2 kernel_size: 5 } }
layer { name: "aside" type: "InnerProduct" bottom: "dec" top: "aside"
  inner_product_param { num_output: 3 } }
"""
IMAGE = (1, 2, 9, 9)
SHAPES = {
    "data": (5, 2, 9, 9),
    "conv1": (5, 4, 9, 9),
    "conv2": (5, 6, 4, 4),
    "fc": (5, 7),
    "dec": (5, 2, 8, 8),
    "aside": (5, 3),
}
PARAMETERS = {
    "conv1": [(4, 2, 3, 3), (4,)],
    "conv2": [(6, 2, 3, 3), (6,)],
    "fc": [(7, 96), (7,)],
    "dec": [(6, 2, 5, 5), (2,)],
    "aside": [(3, 128), (3,)],
}
CONV1 = 2 * 5 * 81 * 4 * 2 * 9
CONV2 = 2 * 5 * 16 * 6 * 2 * 9  # two of four channels in a group
FC = 2 * 5 * 7 * 96
DEC = 2 * 5 * 16 * 6 * 2 * 25
ASIDE = 2 * 5 * 3 * 128
FORWARD = CONV1 + CONV2 + FC + DEC + ASIDE


def parsed(text: str) -> caffe_pb2.NetParameter:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def small(text: str = NET) -> caffe_pb2.NetParameter:
    return with_inputs(parsed(text), IMAGE, "data", 5, ROOT / "net.prototxt")


def test_operations_are_counted_where_they_are_done():
    """The first layer's bottom needs no gradient; `dec` and `aside` lead to no loss."""
    found = step_cost(small(), SHAPES, PARAMETERS)
    assert found == Cost(FORWARD, CONV2 + FC, CONV1 + CONV2 + FC)
    assert found.total == FORWARD + CONV1 + 2 * (CONV2 + FC)


def test_a_frozen_layer_needs_no_weights_gradient():
    frozen = NET.replace(
        'name: "conv1" ', 'name: "conv1" param { lr_mult: 0 } param { lr_mult: 0 } '
    )
    assert step_cost(small(frozen), SHAPES, PARAMETERS) == Cost(FORWARD, FC, CONV2 + FC)
    loss = """layer { name: "dec/loss" type: "EuclideanLoss" bottom: "dec" bottom: "dec"
      top: "dec/loss" loss_weight: 0.1 }"""
    found = step_cost(small(frozen + loss), SHAPES, PARAMETERS)
    assert found == Cost(FORWARD, FC + DEC, CONV2 + FC + DEC)


def test_inputs_stand_in_for_data():
    net = small()
    assert [layer.type for layer in net.layer][:2] == ["Input", "Convolution"]
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [
        [5, 2, 9, 9],
        [5],
    ]
    assert label_blobs(net) == {"label": "fc"}
    assert outputs_of(net) == ["loss", "fc"]
    made = inputs_for(parsed(NET), net, {"label": 7}, 1)
    assert made["data"].shape == (5, 2, 9, 9) and made["data"].dtype == np.float32
    for channel, mean in enumerate((10, 20)):
        pixels = made["data"][:, channel] * 2 + mean
        assert pixels.min() >= 0 and pixels.max() <= 255 and pixels.std() > 60
        assert np.array_equal(pixels, np.round(pixels))
    assert set(made["label"]) <= set(range(7)) and len(set(made["label"])) > 1
    again = inputs_for(parsed(NET), net, {"label": 7}, 1)
    assert all(np.array_equal(again[name], made[name]) for name in made)


def test_joined_data_layers_keep_their_shares():
    joined = """
    layer { name: "few" type: "Data" top: "few" top: "label"
      data_param { batch_size: 16 } }
    layer { name: "rest" type: "Data" top: "rest" data_param { batch_size: 48 } }
    layer { name: "data" type: "Concat" bottom: "few" bottom: "rest" top: "data"
      concat_param { axis: 0 } }
    """
    path = ROOT / "net.prototxt"
    for batch, shares in ((None, (16, 48)), (8, (2, 6))):
        net = with_inputs(parsed(joined), IMAGE, "data", batch, path)
        few, rest = (layer.input_param.shape[0].dim[0] for layer in net.layer[:2])
        assert (few, rest) == shares
        assert net.layer[0].input_param.shape[1].dim == [shares[0]]
    with pytest.raises(UserError, match="few of net.prototxt yields 16 of 64 .* of 4"):
        with_inputs(parsed(joined), IMAGE, "data", 6, path)


def test_the_engine_is_that_of_every_layer():
    net = on_engine(
        network.read(ROOT / "models/vgg8/swwae-all/train_val.prototxt"), "DNNL"
    )
    text = text_format.MessageToString(net)
    assert text.count("engine: DNNL") == text.count("_param {\n    num_output") == 14


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
    answer = {"milliseconds": [5.0] * count, "loss": 1.0, "peak": 2 << 40}
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
        (["--weights", "README.md"], "is not a whole .caffemodel"),
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
    assert done.stderr.startswith("bench.py: README.md is not a whole .caffemodel")


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
