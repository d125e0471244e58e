"""tools/bench.py --gpu and tools/compare_gradients.py, as far as they need no card."""

import json
import os
import subprocess
import sys

import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.bench import card, gpu_setup, gpu_table, rounds, setup
from swwae.bench.caffe_side import groups_of
from swwae.bench.comparison import Difference
from swwae.bench.contender import Contender
from swwae.bench.floor import Pass, Work
from swwae.bench.gpu_rounds import GpuRounds, Results
from swwae.bench.gpu_setup import GpuComparison, few_images, sides
from swwae.bench.job import Job
from swwae.bench.verdict import faults_on_gpu
from swwae.commands import bench, compare_gradients
from swwae.nets.cost import Cost

RATES = {"copy": 1000.0, "product": {"fp32": 1.0, "tf32": 8.0}}
WORKS = [
    Work("Convolution", (Pass(10**9, 10**6),), (Pass(10**9, 10**6),) * 2),
    Work("ReLU", (Pass(values=10**9),), (Pass(values=2 * 10**9),)),
]


def job(kind="caffe", math="fp32", **more) -> Job:
    return Job(kind, 1, "", "", "", "", True, gpu=0, math=math, **more)


def contender(name, *, times=(), batch=8, kind="caffe", math="fp32", **more):
    compiled = more.pop("compiled", False)
    one = job(kind, math, compiled=compiled)
    return Contender(name, batch, one, one, times=list(times), **more)


@pytest.fixture
def fake_card(monkeypatch):
    """Workers that take the CPU for a card."""
    program = ROOT / "tests/bench/fake_card.py"
    monkeypatch.setattr("swwae.bench.worker.SERVE", (sys.executable, str(program)))
    monkeypatch.setattr("swwae.engine.devices.choose", lambda caffe, wanted: None)
    monkeypatch.setattr("swwae.engine.devices.require", lambda *asked, mend: None)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


# --- what is compared


def test_every_side_has_a_name():
    found = sides(("caffe", "torch", "torch-compile"), ("tf32", "bf16"), None)
    assert found == [
        ("cuDNN tf32", "caffe", "tf32", False),
        ("PyTorch tf32", "torch", "tf32", False),
        ("PyTorch tf32, compiled", "torch", "tf32", True),
        ("PyTorch tf32, channels last", "torch-channels-last", "tf32", False),
        ("PyTorch tf32, channels last, compiled", "torch-channels-last", "tf32", True),
        ("PyTorch bf16", "torch", "bf16", False),
        ("PyTorch bf16, compiled", "torch", "bf16", True),
        ("PyTorch bf16, channels last", "torch-channels-last", "bf16", False),
        ("PyTorch bf16, channels last, compiled", "torch-channels-last", "bf16", True),
    ]
    assert sides(("torch",), ("fp32",), ("nhwc",)) == [
        ("PyTorch fp32, channels last", "torch-channels-last", "fp32", False)
    ]


def test_what_takes_minutes_is_left_out_unless_it_is_asked_for():
    def refused(layouts, no_torch=None) -> list[str | None]:
        group = [
            contender(name, kind=kind, math=math)
            for name, kind, math, _ in sides(("caffe", "torch"), ("fp32",), layouts)
        ]
        gpu_setup.refuse(group, layouts, no_torch)
        return [one.refused for one in group]

    assert refused(None) == [None, None, gpu_setup.LEFT_OUT]
    assert refused(("nchw", "nhwc")) == [None, None, None]
    assert refused(None, "no torch") == [None, "no torch", "no torch"]


@pytest.mark.parametrize("named", [None, "/opt/python"])
def test_a_named_python_without_torch_is_a_fault(named):
    one = contender("PyTorch fp32", kind="torch")
    one.job = job("torch", python=named)
    gpu_setup.refuse([one], None, f"{named} has no torch")
    assert faults_on_gpu([one]) == ([f"{named} has no torch."] if named else [])


def test_few_large_images_are_compared():
    assert few_images((1, 3, 224, 224), 64) == 4
    assert [few_images((1, 1, 32, 32), batch) for batch in (8, 512)] == [8, 64]


def test_groups_are_about_equal():
    assert groups_of(3) == [1, 1, 1]
    assert groups_of(10) == [2, 3, 2, 3]


# --- tables and verdicts


def test_figures_stand_beside_the_floor():
    group = [
        contender("cuDNN fp32", times=[40.0, 60.0], peak=3 << 30),
        contender("cuDNN tf32", times=[30.0, 30.0], math="tf32", peak=1 << 30),
        contender("PyTorch fp32", times=[100.0, 120.0], kind="torch", peak=2 << 30),
        contender("PyTorch fp32, compiled", times=[1, 1], kind="torch", compiled=True),
        contender("PyTorch bf16", kind="torch", math="bf16", refused="no such card"),
    ]
    cost = Cost(10**9, 10**9, 10**9)
    rows = [
        [part.strip() for part in line.split("  ") if part.strip()]
        for line in gpu_table.figures(group, cost, WORKS, RATES).splitlines()
    ]
    # 3 ms of products at 1 TFLOP/s, and 3e9 floats at 1000 GB/s
    assert rows[1][:6] == ["cuDNN fp32", "50", "40-60", "160", "0.06", "3.33"]
    assert rows[1][6:8] == ["2.25", "3,072 MiB"]  # of 2.5 and 2
    assert rows[2][5:7] == [f"{30 / (12 + 3 / 8):.2f}", "-"]
    assert rows[3][6] == "1.00"
    assert rows[5] == ["PyTorch bf16: no such card"]
    text = gpu_table.floor_text(group, WORKS, RATES)
    lines = [line.split() for line in text.splitlines()]
    assert lines[1][-3:] == ["15", "1", "1,000"]
    assert lines[2] == ["TF32", "12.38", "8", "1,000"]
    assert "did not run" in gpu_table.floor_text(group, WORKS, None)
    assert gpu_table.figures(group, cost, WORKS, None).splitlines()[1].split()[6] == "-"


def test_layers_stand_beside_the_floor():
    one = contender(
        "cuDNN tf32", math="tf32", layers={"ReLU": (5.0, 9.0), "clear": (0.0, 2.0)}
    )
    rows = [line.split() for line in gpu_table.layers(one, WORKS, RATES).splitlines()]
    assert rows[1] == ["ReLU", "5.000", "4.000", "9.000", "8.000", "87.5", "%"]
    assert rows[2] == ["clear", "0.000", "-", "2.000", "-", "12.5", "%"]


def differing(l2: float) -> dict[str, Difference]:
    same = Difference(0, "loss", 0, "loss")
    return {"outputs": same, "gradients": Difference(l2, "conv1", l2, "conv1")}


@pytest.mark.parametrize(
    ("math", "l2", "beyond"),
    [
        ("fp32", 9e-5, False),
        ("fp32", 2e-4, True),
        ("fp32", float("nan"), True),
        ("tf32", 9e-3, False),
        ("tf32", 2e-2, True),
    ],
)
def test_the_bound_is_the_maths(math, l2, beyond):
    ours = contender(f"cuDNN {math}", math=math, differences=differing(l2))
    torch = contender("PyTorch", math=math, kind="torch", differences=differing(1))
    found = faults_on_gpu([ours, torch])
    assert bool(found) == beyond
    if beyond:
        assert "gradients of conv1 differ from the CPU's" in found[0]


def test_versions_are_read():
    assert card.cudnn_text(91900) == "9.19.0" and card.cudnn_text(8907) == "8.9.7"
    assert card.cudnn_text(None) is None


# --- rounds

DYING = """
import json, sys
mine = json.loads(sys.argv[1])
print('{}', flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "steps" in request and mine["math"] == "tf32" and request["steps"] > 2:
        sys.exit("cuDNN is unwell")
    count = request.get("steps", 0)
    memory = {"peak": 5, "free": 1 << 40}
    answer = {"milliseconds": [5.0] * count, "loss": 1.0, "others": 0.0, **memory}
    print(json.dumps(answer), flush=True)
"""


def test_a_side_that_dies_is_left_out(monkeypatch, tmp_path):
    program = tmp_path / "worker.py"
    program.write_text(DYING)
    monkeypatch.setattr("swwae.bench.worker.SERVE", (sys.executable, str(program)))
    two = [contender("cuDNN fp32"), contender("cuDNN tf32", math="tf32")]
    comparison = GpuComparison(0, {}, {}, two, [], None, 4)
    turns = GpuRounds(comparison, Results([], tmp_path), [], lambda text: None)
    try:
        turns.start()
        turns.warm_up(0.1)
        turns.round(0)
    finally:
        turns.close()
    assert two[0].times == [5.0] and two[0].count == 20 and not two[0].refused
    assert two[1].died and not two[1].times
    assert faults_on_gpu(two) == [
        "cuDNN tf32, batch 8 ended while it computed: cuDNN is unwell."
    ]


REFUSING = """
print('{"refused": "PyTorch 2 (built without CUDA) finds no card here"}', flush=True)
"""


@pytest.mark.parametrize(("named", "fault"), [(None, False), (sys.executable, True)])
def test_a_named_python_whose_torch_has_no_cuda_is_a_fault(
    monkeypatch, tmp_path, named, fault
):
    program = tmp_path / "worker.py"
    program.write_text(REFUSING)
    monkeypatch.setattr("swwae.bench.worker.SERVE", (sys.executable, str(program)))
    one = contender("PyTorch fp32", kind="torch")
    one.job = job("torch", python=named)
    comparison = GpuComparison(0, {}, {}, [one], [], None, 4)
    turns = GpuRounds(comparison, Results([], tmp_path), [], lambda text: None)
    try:
        turns.start()
        turns.warm_up(0.1)
    finally:
        turns.close()
    assert one.refused.startswith("PyTorch 2 (built without CUDA)")
    assert bool(faults_on_gpu([one])) == fault


def test_the_cards_memory_decides_who_stays(tmp_path):
    one = contender("cuDNN fp32", peak=10)
    comparison = GpuComparison(0, {}, {}, [one], [], None, 4)
    turns = GpuRounds(comparison, Results([], tmp_path), [], lambda text: None)
    answer = {"peak": 10, "loss": 1.0, "free": int(10 * rounds.MARGIN) - 1}
    turns._note(one, answer)
    turns._running[0] = type("Nobody", (), {"close": lambda self: None})()
    turns._make_room(8)
    assert not turns.kept and not turns._running


# --- the commands

SMALL = ("--gpu", "0", "--net", "vgg8", "--batch", "2", "--threads", "1")
QUICK = ("--rounds", "1", "--seconds", "0.01")


def test_a_whole_comparison(fake_card, tmp_path, capsys):
    """Its other engine is DNNL: the arithmetic of a card it is not."""
    made = tmp_path / "bench.json"
    engines = ("--engines", "caffe,torch", "--math", "fp32", "--layout", "nchw")
    arguments = [*SMALL, *QUICK, *engines, "--layers", "--json", str(made)]
    assert bench.main(arguments) == 0
    said = capsys.readouterr().out
    assert "compared 2 images, with the CPU's CAFFE" in said
    assert "ms by layers, cuDNN fp32" in said and "Caffe on Fake, driver 1" in said
    content = json.loads(made.read_text())
    assert content["command"].startswith("tools/bench.py --gpu 0 --net vgg8")
    assert content["card"]["caffe"]["name"] == "Fake"
    ours, torch = content["contenders"]
    assert ours["name"] == "cuDNN fp32" and ours["memory"] == 3 << 20
    for part in ("outputs", "gradients"):
        assert 0 < ours["differences"][part]["l2"] < 1e-5
    assert ours["layers_ms"]["Deconvolution"][1] > 0
    if not setup.has_torch():
        assert "is not installed" in torch["refused"]
        return
    assert torch["memory"] == 5 << 20 and torch["allocated"] == 4 << 20
    assert torch["times_pytorch"] == 1 and 0 < torch["differences"]["outputs"]["l2"]
    floors = ours["layers_floor_ms"]
    assert sum(map(sum, floors.values())) == pytest.approx(ours["floor_ms"])
    assert floors["Deconvolution"][1] == pytest.approx(2 * floors["Deconvolution"][0])


def test_gradients_of_variants(fake_card, tmp_path, capsys):
    made = tmp_path / "gradients.json"
    some = ("--variant", "baseline,swwae-layerwise", "--math", "fp32,tf32")
    arguments = ["--batch", "2", *some, "--json", str(made)]
    assert compare_gradients.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "stage 4 of vgg8/baseline, fp32: outputs" in lines[0]
    assert lines[3].endswith("within 0.01")
    content = json.loads(made.read_text())
    assert [one["variant"] for one in content[::2]] == ["baseline", "swwae-layerwise"]
    assert all(one["holds"] for one in content)


@pytest.mark.parametrize(
    ("stage", "variants"),
    [
        ("2", ["sae-layerwise", "swwae-layerwise", "ladder"]),
        ("3", ["sae-first", "sae-all", "swwae-first", "swwae-all", "ladder"]),
    ],
)
def test_variants_without_the_stage_are_left_out(
    fake_card, monkeypatch, stage, variants
):
    """And a run that several share is compared once."""
    asked = []

    def compare(runs, *_, **__):
        asked.extend(runs)
        return []

    monkeypatch.setattr(compare_gradients, "compare_gradients", compare)
    assert compare_gradients.main(["--stage", stage]) == 0
    assert [run.variant for run in asked] == variants
    with pytest.raises(UserError, match="the baseline has none"):
        compare_gradients.main(["--stage", stage, "--variant", "baseline"])


def test_gradients_are_not_compared_without_a_card():
    program = ["tools/compare_gradients.py"]
    done = subprocess.run(
        program, cwd=ROOT, capture_output=True, text=True, env=without_cards()
    )
    assert done.returncode == 2
    assert done.stderr.startswith("compare_gradients.py: --gpu 0: ")
    assert done.stderr.endswith("; this compares a card with the CPU, and needs one.\n")


def without_cards() -> dict[str, str]:
    return os.environ | {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpu", "-1"], "'-1' is no whole number from 0"),
        (["--gpu", "0", "--engines", "dnnl"], "none of caffe, torch, torch-compile"),
        (["--gpu", "0", "--math", "fp8"], "'fp8' is none of fp32, tf32, bf16"),
        (["--gpu", "0", "--layout", "chwn"], "'chwn' is none of nchw, nhwc"),
        (["--gpu", "0", "--threads", "1,2"], "--gpu takes one number of --threads"),
        (["--math", "fp32"], "--math needs --gpu N"),
        (
            ["--gpu", "0", "--engines", "caffe", "--math", "bf16"],
            "--math bf16: Caffe computes in fp32 and tf32; --engines has no other",
        ),
        (["--torch-python", "python3"], "--torch-python needs --gpu N"),
        (["--compare-batch", "2"], "--compare-batch needs --gpu N"),
    ],
)
def test_mistakes_are_said(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        bench.main(["--net", "vgg8", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("command", [bench, compare_gradients])
def test_an_environment_that_caffe_refuses_is_said(command, monkeypatch):
    monkeypatch.setenv("CAFFE_GPU_MATH", "TF32")
    with pytest.raises(UserError, match="CAFFE_GPU_MATH is TF32 in the environment"):
        command.main(["--net", "vgg8"])


@pytest.mark.parametrize(
    "command", [["tools/bench.py", "--net", "vgg8"], ["tools/compare_gradients.py"]]
)
def test_without_a_card_a_sentence_says_so(command):
    done = subprocess.run(
        [*command, "--gpu", "77"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "--gpu 77: " in done.stderr
