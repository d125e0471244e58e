"""tools/compare_engines.py: its plan, and its verdict on runs that were made up."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from generator.__main__ import main as generate
from generator.errors import UserError
from swwae.base import provenance
from swwae.base.project import CAFFE, ROOT
from swwae.commands import compare_engines
from swwae.evaluation import results
from swwae.experiments import engine_results, engines, paired_tests
from swwae.experiments.engines import ENGINES, EngineComparison
from swwae.experiments.jobs import Schedule, ScheduleResult
from swwae.runs.run import Run
from tests.helpers.fake_gpu import write_caffe

PROGRAM = ROOT / "tools/compare_engines.py"
BUILD = provenance.versions(CAFFE)["fork"]
RESULT = {"depth": None, "scheme": "single-crop", "split": "val", "seed": None}
RESULT |= {"images": 10000, "top5_error": 0.1, "recon_l2": None, "mirrored": False}
RESULT |= {"weights": ""}
WEIGHTS = {"loss": 1.0, "dec:loss@conv1_2": 0.5, "dec:loss@data/scaled": 0.25}
BASE = (9.61, 9.74, 9.52, 9.83, 9.66)
NOISE = (0.03, -0.04, 0.02, -0.03, 0.01)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    made = EngineComparison(
        tmp_path_factory.mktemp("out"), "vgg8", "swwae-all", ("CAFFE", "DNNL"), 5
    )
    generate(made.generator_arguments())
    return made


def finish(run: Run, seed: int, error: float, build: str | None = BUILD) -> None:
    """What a stage leaves that ended with this error; its losses follow from it."""
    run.folder.mkdir(parents=True)
    run.final_weights.write_text(f"{run.folder}")
    status = {"state": "finished", "iterations": 1000, "seed": seed, "seconds": 60.0}
    status["versions"] = {"fork": build}
    status["final_losses"] = {
        name: {"iteration": 980, "value": 7.0, "weight": weight}
        for name, weight in (WEIGHTS | {"total": 1.0}).items()
    }
    status["test_outputs"] = {
        name: {"iteration": 1000, "value": error * 0.03} for name in WEIGHTS
    }
    run.write_status(status)
    if run.stage in (0, 4):
        checksum = results.checksum_of(run.final_weights)
        measured = RESULT | {"net": run.net, "variant": run.variant}
        results.record(run, measured | {"top1_error": error}, checksum)


def finish_all(plan: EngineComparison, more: float = 0.0) -> None:
    """Both engines end alike but for noise, and DNNL's error is larger by `more`."""
    for seed in range(1, plan.seeds + 1):
        error = BASE[seed - 1]
        for engine in plan.engines:
            for run in plan.chain(seed, engine):
                finish(run, seed, error)
            error += NOISE[seed - 1] + more


def run_program(*arguments: str | Path) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [PROGRAM, *arguments], check=False, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return done


# --- the plan


def test_a_seed_and_an_engine_go_through_every_stage(plan):
    names = [job.name for job in plan.jobs]
    assert len(names) == len(set(names)) == 2 * 5 * (5 + 2)
    seen = set()
    for job in plan.jobs:
        assert seen.issuperset(job.needs), job.name
        seen.add(job.name)
    own = [name for name in names if name.endswith("(seed3-dnnl)")]
    assert [name.split(" ")[2] for name in own] == ["0", "1", "2", "3", "4"]


def test_engines_train_and_the_stock_one_judges(plan):
    for job in plan.jobs:
        engine = job.environment["RUNS_DIR"].rpartition("-")[2].upper()
        if job.command[0] == "tools/evaluate.py":
            engine = "CAFFE"
        assert job.environment.items() >= ENGINES[engine].items()
        assert job.environment["OMP_NUM_THREADS"] == "1"
        assert job.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_an_engine_of_gpus_trains_there_and_the_stock_one_judges_on_the_cpu(plan):
    plan = replace(plan, engines=("DNNL", "GPU-TF32"), seeds=2, gpus=(0, 3))
    for job in plan.jobs:
        trains = job.command[0] == "tools/run_stage.sh"
        on_gpu = trains and "-gpu-tf32)" in job.name
        if on_gpu:
            assert job.gpus == (() if job.command[1] == "1" else (0, 3))
            assert job.environment["CAFFE_GPU_MATH"] == "tf32"
            assert "CUDA_VISIBLE_DEVICES" not in job.environment
        else:
            assert job.gpus == ()
            assert job.environment["CUDA_VISIBLE_DEVICES"] == ""
        if not trains:
            assert job.environment["CAFFE_ENGINE"] == "CAFFE"


def test_gpus_are_recorded_by_engine(plan, tmp_path):
    plan = replace(plan, out=tmp_path, engines=("DNNL", "GPU"), seeds=2)
    finish_all(plan)
    assert plan.cards() == {}
    last = plan.chain(1, "GPU")[-1]
    last.write_status(last.status() | {"gpu": {"math": "fp32"}})
    assert plan.cards() == {"GPU": {"math": "fp32"}}
    comparisons = paired_tests.compare(plan.quantities(plan.rows()))
    content = engine_results.as_json(plan, plan.rows(), comparisons, "")
    assert content["gpus"] == {"GPU": {"math": "fp32"}}
    assert content["engines"]["GPU"] == {"CAFFE_GPU_MATH": "fp32"}


def test_two_engines_of_gpus_need_no_onednn(plan, tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcaffe.so").write_bytes(b"libcudnn.so.9")
    monkeypatch.setattr(engines, "CAFFE", tmp_path / "bin/caffe")
    replace(plan, engines=("CAFFE", "GPU")).check_build()
    with pytest.raises(UserError, match="built without oneDNN"):
        replace(plan, engines=("DNNL", "GPU")).check_build()


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """The program of a build with the GPUs 0 and 3; none where NO_GPU says why."""
    monkeypatch.delenv("NO_GPU", raising=False)
    monkeypatch.setattr(compare_engines, "CAFFE", write_caffe(tmp_path / "build"))


def test_the_first_gpu_or_those_that_are_named(gpus):
    choose = compare_engines._choose_gpus
    assert choose(None, ["GPU"])[0] == [0]
    assert choose("all", ["GPU"])[0] == [0, 3]
    assert choose("3", ["GPU-TF32"]) == ([3], "GPU 3 (NVIDIA A100)")
    assert choose(None, []) == ([], "")


def test_an_engine_of_gpus_without_one_is_a_sentence(gpus, monkeypatch):
    monkeypatch.setenv("NO_GPU", "no CUDA-capable device is detected")
    for wanted in (None, "0"):
        with pytest.raises(UserError) as refusal:
            compare_engines._choose_gpus(wanted, ["GPU"])
        said = str(refusal.value)
        assert said.startswith("the engine GPU computes on a GPU: ")
        assert said.endswith("; engines of the CPU are CAFFE, DNNL, DIRECT.")


def test_a_layerwise_variant_has_no_stage_3(plan):
    other = replace(plan, variant="sae-layerwise")
    assert [run.stage for run in other.chain(1, "CAFFE")] == [0, 1, 2, 4]


def test_what_is_finished_is_not_run_again(plan, tmp_path):
    plan = replace(plan, out=tmp_path, seeds=2)
    finish_all(plan)
    assert Schedule(plan.jobs, 1, io.StringIO()).remaining == []
    # but by another build, it has to be: the engine may be another, too
    run = plan.chain(2, "DNNL")[2]
    run.write_status(run.status() | {"versions": {"fork": "another"}})
    left = Schedule(plan.jobs, 1, io.StringIO()).remaining
    stages = [job.name for job in left if job.command[0] == "tools/run_stage.sh"]
    assert [name.split(" ")[2] for name in stages] == ["2", "3", "4"]
    assert all("(seed2-dnnl)" in job.name for job in left)
    assert left[0].must_restart()


# --- the verdict


def main_on(plan: EngineComparison, *more: str | Path) -> int:
    arguments = ["--out", plan.out, "--seeds", plan.seeds, *more]
    return compare_engines.main([str(each) for each in arguments])


def test_engines_that_train_alike(plan, tmp_path, capsys):
    plan = replace(plan, out=tmp_path / "out")
    finish_all(plan)
    path = tmp_path / "engines.json"
    assert main_on(plan, "--json", path) == 0
    said = capsys.readouterr().out
    assert "No test tells CAFFE and DNNL apart at 5 %" in said
    (row,) = (line for line in said.split("\n") if "stage 4: top-1 error" in line)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2:5] == ["9.67 ± 0.12", "9.67 ± 0.09", "-0.002"]
    content = json.loads(path.read_text())
    assert content["told_apart"] is False and len(content["runs"]) == 10
    names = [each["quantity"].partition(": ")[2] for each in content["comparisons"]]
    errors = ["top-1 error in %"] * 2
    assert names == [*errors, "classification loss", "reconstruction losses"]
    row = content["runs"][0]
    assert row["seconds"] == 5 * 60
    assert row["stage 4: classification loss"] == pytest.approx(9.61 * 0.03)
    assert row["stage 4: reconstruction losses"] == pytest.approx(9.61 * 0.03 * 0.75)


def test_an_engine_that_trains_worse(plan, tmp_path, capsys):
    plan = replace(plan, out=tmp_path)
    finish_all(plan, more=0.5)
    assert main_on(plan) == 1
    said = capsys.readouterr().out
    assert "CAFFE and DNNL are told apart at 5 %" in said
    assert "stage 4: classification loss by Welch's t (p = " in said


def test_few_seeds_are_told(plan, tmp_path, capsys):
    plan = replace(plan, out=tmp_path, seeds=3)
    finish_all(plan)
    assert main_on(plan) == 0
    assert "Of 3 seeds Mann-Whitney's p is 0.4 at the least" in capsys.readouterr().out


def test_one_engine_under_two_names(plan, tmp_path):
    plan = replace(plan, out=tmp_path, seeds=2)
    finish_all(plan)
    both = [plan.chain(2, engine)[-1] for engine in plan.engines]
    for run in both:
        run.final_weights.write_text("the same")
    with pytest.raises(UserError, match="of seed 2 ended with the same weights"):
        plan.check_difference()


def test_a_build_without_onednn_has_no_engines_to_compare(plan, tmp_path, monkeypatch):
    plan.check_build()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcaffe.so").write_bytes(b"libopenblas.so.0")
    monkeypatch.setattr(engines, "CAFFE", tmp_path / "bin/caffe")
    with pytest.raises(UserError, match="built without oneDNN"):
        plan.check_build()


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        (ScheduleResult(["a"], ["b", "c"]), 1, "1 jobs failed and 2 that need them"),
        (ScheduleResult(interrupted=True), 130, "the same command goes on"),
    ],
)
def test_nothing_is_compared_of_half_the_runs(
    plan, tmp_path, monkeypatch, capsys, result, code, said
):
    monkeypatch.setattr(Schedule, "run", lambda self: result)
    assert main_on(replace(plan, out=tmp_path)) == code
    printed = capsys.readouterr()
    assert said in printed.err and "apart" not in printed.out


@pytest.mark.parametrize(
    "output", [{"iteration": 500, "value": 0.3}, {"iteration": 1000, "value": "nan"}]
)
def test_a_loss_that_was_not_tested_last(plan, tmp_path, output):
    plan = replace(plan, out=tmp_path, seeds=2)
    finish_all(plan)
    last = plan.chain(1, "DNNL")[-1]
    status = last.status()
    status["test_outputs"]["loss"] = output
    last.write_status(status)
    with pytest.raises(UserError, match="no finite loss of a test behind the last"):
        plan.rows()


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engines", "CAFFE"), "'CAFFE' is not two engines"),
        (("--engines", "DNNL,DNNL"), "'DNNL,DNNL' is not two engines"),
        (("--engines", "CAFFE,MKL"), "'MKL' is none of CAFFE, DNNL, DIRECT, GPU"),
        (("--seeds", "1"), "no whole number from 2 to 1000"),
        (("--net", "vgg9"), "unknown network 'vgg9'; did you mean vgg8?"),
        (("--variant", "swwae"), "unknown variant 'swwae'"),
        (("--variant", "baseline", "--epochs", "1=3"), "expected stages that train"),
        (("--json", "nowhere/engines.json"), "there is no folder"),
        (
            ("--engines", "DNNL,DIRECT", "--gpu", "0"),
            "--gpu goes with the engines GPU and GPU-TF32; DNNL and DIRECT compute on",
        ),
        (("--out", "README.md"), "cannot hold the runs"),
    ],
)
def test_mistakes_are_told(arguments, said):
    done = run_program(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_dry_run_trains_nothing(tmp_path):
    out = tmp_path / "out"
    done = run_program("--dry-run", "--engines", "DIRECT,CAFFE", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "seeds 1 to 5 with DIRECT and CAFFE: 70 jobs, 0 done before" in done.stdout
    assert "CAFFE_DNNL_WINOGRAD=0" in done.stdout
    assert not out.exists()
