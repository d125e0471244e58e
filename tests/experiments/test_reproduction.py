"""The plan of the reproduction, and the cells of its tables."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import pytest

from generator.__main__ import main as generate
from generator.errors import UserError
from generator.paper import TABLE_1
from swwae.commands import reproduce
from swwae.experiments import tables
from swwae.experiments.jobs import Schedule, ScheduleResult, exclusive_folder
from swwae.experiments.measurements import Measurement, Model
from swwae.experiments.reproduction import (
    FULL,
    LABELS,
    VARIANTS,
    Reproduction,
)
from swwae.experiments.reproduction_run import (
    faults,
    prepare,
    seconds_before,
    tables_text,
    write_results,
)
from swwae.experiments.tables import CONTROL
from swwae.runs.run import Run
from tests.helpers.fake_gpu import write_caffe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    made = Reproduction(tmp_path_factory.mktemp("out"), 2, (100,))
    for _, *arguments in made.generator_arguments():
        generate(["vgg8", *arguments])
    return made


def jobs_of(plan):
    return {job.name: job for job in plan.jobs}


def trainings(plan):
    return [job for job in plan.jobs if job.command[0] == "tools/run_stage.sh"]


# --- the plan


def test_tables_of_another_network(tmp_path):
    """Of its own data, stages and folders; its files need not be there."""
    plan = Reproduction(tmp_path, 2, (), epochs={}, base_lr={}, net="vgg10_96")
    [arguments] = plan.generator_arguments()
    assert arguments == ["vgg10_96", "--name", "vgg10_96_long", "--depth", "all"]
    assert {model.net for model in plan.table_models()} == {"vgg10_96_long"}
    images = {(m.split, m.images) for m in plan.measurements()}
    assert images == {("train", 5_000), ("val", 8_000)}
    depths = {m.depth for m in plan.measurements() if m.depth}
    assert depths == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("arguments", "out", "labels"),
    [
        ([], "runs/reproduce", LABELS),
        (["--net", "vgg8_32"], "runs/reproduce_vgg8_32", ()),
        (["--net", "vgg8_32", "--labels", "none"], "runs/reproduce_vgg8_32", ()),
    ],
)
def test_another_network_has_a_folder_of_its_own(arguments, out, labels):
    options = reproduce.parsed(arguments)
    assert (options.out, options.labels) == (Path(out), labels)


def test_rates_of_few_labels_are_of_one_network(capsys):
    with pytest.raises(SystemExit) as end:
        reproduce.parsed(["--net", "vgg8_32", "--labels", "100"])
    assert end.value.code == 2 and "leave it out" in capsys.readouterr().err


def test_what_others_need_comes_first(plan):
    seen = set()
    for job in plan.jobs:
        assert seen.issuperset(job.needs), job.name
        seen.add(job.name)


def test_a_seed_has_one_classifier_and_a_family_one_stage_2(plan):
    names = [job.name for job in trainings(plan) if job.name.startswith(FULL)]
    assert len(names) == len(set(names))
    for seed in (1, 2):
        own = [name for name in names if name.endswith(f"(seed{seed})")]
        stages = [name.split(" ")[2] for name in own]
        assert stages.count("0") == 1 and stages.count("2") == 2
        assert stages.count("4") == 1 + len(VARIANTS)
        # first, at three depths, and all, of two families
        assert stages.count("3") == 2 * (3 + 1)


def test_every_row_of_table_1_is_measured_by_both_schemes_on_both_splits(plan):
    found = {
        (each.model.name, each.scheme, each.split, each.model.seed)
        for each in plan.measurements()
        if each.model.labels is None and each.model.stage != 3
    }
    names = ["baseline", CONTROL, *VARIANTS]
    assert found == {
        (name, scheme, split, seed)
        for name in names
        for scheme in ("single-crop", "convolution")
        for split in ("train", "val")
        for seed in (1, 2)
    }


def test_seeds_have_runs_of_their_own(plan):
    job = jobs_of(plan)[f"{FULL}/swwae-all stage 4 (seed2)"]
    assert job.environment["RUNS_DIR"].endswith("/seed2")
    assert job.command[-2:] == ["--seed", "2"]
    assert job.needs == (f"{FULL}/swwae-all stage 3 (seed2)",)


def test_every_job_but_stage_1_has_the_gpus(plan):
    assert not any(job.gpus for job in plan.jobs)
    for job in replace(plan, gpus=(0, 1)).jobs:
        is_fresh = job.command[:2] == ["tools/run_stage.sh", "1"]
        assert job.gpus == (() if is_fresh else (0, 1))


def test_a_gpu_that_is_not_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_GPU", "no CUDA-capable device is detected")
    monkeypatch.setattr(reproduce, "CAFFE", write_caffe(tmp_path / "build"))
    monkeypatch.setattr(reproduce, "require_caffe", lambda: None)
    with pytest.raises(UserError, match="--gpu 0: "):
        reproduce.main(["--gpu", "0", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_lower_depth_starts_from_the_shared_stage_2(plan):
    job = jobs_of(plan)[f"{FULL}/swwae-first/depth1 stage 3 (seed1)"]
    assert job.needs == (f"{FULL}/swwae-layerwise stage 2 (seed1)",)
    place = job.command.index("--weights") + 1
    assert job.command[place].endswith("swwae-layerwise/stage2/final.caffemodel")


def test_few_labels_have_networks_of_their_own_by_seed(plan):
    jobs = jobs_of(plan)
    assert "vgg8_labels100/baseline stage 0 (seed1)" in jobs
    assert "vgg8_labels100_seed2/sae-all stage 4 (seed2)" in jobs


def test_the_fewest_labels_have_a_smaller_rate_of_stage_2(plan):
    made = replace(plan, labels=(100, 500)).generator_arguments()
    rates = {
        command[command.index("--labels") + 1]: command[-1]
        for command in made
        if "--labels" in command
    }
    assert rates == {"100": "2=1e-05,3=0.005,4=0.02", "500": "2=2e-05,3=0.005,4=0.02"}


def test_a_trial_has_few_iterations(plan):
    trial = Reproduction(plan.out, 1, (), 3)
    for job in trainings(trial):
        if "stage 1" not in job.name:
            assert job.command[-2:] == ["--max-iter", "3"]


def test_what_has_not_been_measured_has_a_row_without_figures(plan):
    model = Model("sae-all", FULL, "sae-all", 4, 1, plan.root(1))
    row = Measurement(model, "single-crop", "val", 3).row
    assert row["model"] == "sae-all" and row["top1_error"] is None


# --- the tables


def row(model, error, seed=1, **more):
    return {
        "model": model,
        "stage": 4,
        "labels": None,
        "training_seed": seed,
        "depth": None,
        "scheme": "single-crop",
        "split": "val",
        "images": 10000,
        "top1_error": error,
        "top5_error": error / 10,
        "recon_l2": None,
        **more,
    }


def cells(text):
    lines = [line.strip("| ").split("|") for line in text.split("\n")]
    return [[cell.strip() for cell in line] for line in lines if "---" not in line[0]]


def test_a_cell_is_the_mean_and_the_deviation_of_the_seeds():
    errors = [9.0, 8.5, 8.0]
    rows = [row("baseline", error, seed) for seed, error in enumerate(errors)]
    head, body = cells(tables.errors_table(rows))
    assert body[head.index("single-crop, top-1, val")] == f"8.50 ± {stdev(errors):.2f}"
    assert body[head.index("single-crop, top-5, val")] == "0.85 ± 0.05"
    assert body[head.index("convolution, top-1, val")] == tables.MISSING


def test_one_seed_has_no_deviation_and_a_missing_one_is_told():
    rows = [row("baseline", 9.0), row("baseline", 0.0, 2) | {"top1_error": None}]
    head, body = cells(tables.errors_table(rows))
    assert body[head.index("single-crop, top-1, val")] == "9.00 (1 of 2)"


def test_results_of_lower_depths_are_not_taken_for_the_model_s():
    """Its error is the same, but it would count twice."""
    rows = [row("sae-all", 9.0, depth=3), row("sae-all", 1.0, depth=1)]
    head, body = cells(tables.errors_table(rows))
    assert body[head.index("single-crop, top-1, val")] == "9.00"


def test_reconstructions_by_depth():
    rows = [
        row("swwae-first", 9, depth=3, recon_l2=8.0),
        row("swwae-first", 9, depth=1, recon_l2=7.0),
        row("sae-first, pretrained", 9, depth=2, recon_l2=20.0, stage=3),
        row("swwae-first", 9, depth=3, recon_l2=99.0, split="train"),
    ]
    head, first, second = cells(tables.reconstruction_table(rows))
    assert head[1:] == ["from 1", "from 2", "from 3"]
    assert first == ["swwae-first", "7.00", tables.MISSING, "8.00"]
    assert second == ["sae-first, pretrained", tables.MISSING, "20.00", tables.MISSING]


def test_few_labels_by_number():
    rows = [
        row("baseline", 30.0, labels=100),
        row("baseline", 20.0, labels=1000),
        row("swwae-all", 28.0, labels=100),
        row("swwae-all", 28.0),  # of all labels
    ]
    head, first, second = cells(tables.few_labels_table(rows))
    assert head[1:] == ["100 labels", "1,000 labels"]
    assert first == ["baseline", "30.00", "20.00"]
    assert second == ["swwae-all", "28.00", tables.MISSING]


def test_the_paper_s_table_is_the_paper_s():
    head, *body = cells(tables.paper_errors_table())
    assert [line[0] for line in body] == [title for title, _ in TABLE_1.values()]
    place = head.index("convolution, top-5, val")
    assert body[-2][place] == "8.13"  # SWWAE-all


def test_results_are_written_with_what_they_are_of(plan):
    rows = write_results(plan, "tools/reproduce.sh", 15.5)
    content = json.loads((plan.out / "results.json").read_text())
    assert content["seconds"] == 15.5 and content["rows"] == rows
    assert content["iterations_at_most"] is None and content["warnings"] == []
    assert len(rows) == len(plan.measurements())
    assert seconds_before(plan) == 15.5
    for damaged in ("[" * 5000, '{"seconds": 1' + "0" * 400 + "}", "[]", ""):
        (plan.out / "results.json").write_text(damaged)
        assert seconds_before(plan) == 0.0


def test_a_trial_s_tables_say_so():
    assert tables_text([row("baseline", 9.0)], 3).startswith("A TRIAL of 3")


def test_what_trainings_warn_of_is_told_once(plan, tmp_path, capsys):
    """Also by a stage that many results rest on, and that has none itself."""
    made = replace(plan, out=tmp_path)
    status = Run(FULL, "sae-layerwise", 2, None, made.root(2)).folder / "status.json"
    status.parent.mkdir(parents=True)
    said = {"state": "finished", "iterations": 9, "warning": "a decoder is dead: why."}
    status.write_text(json.dumps(said))
    told = f"{FULL}/sae-layerwise stage 2 (seed2): a decoder is dead: why."
    assert made.warnings() == [told]
    assert faults(made, []) == [f"warning: {told}"]
    reproduce._print_faults(made, [])
    assert capsys.readouterr().err == f"warning: {told}\n"


@pytest.mark.parametrize("labels", ["5", "100,x", "60001", ""])
def test_impossible_labels(labels):
    command = [ROOT / "tools/reproduce.py", "--labels", labels]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no whole number from 10 to 60000" in done.stderr


def test_tables_of_nothing_name_what_is_missing(plan):
    command = [ROOT / "tools/reproduce.py", "--tables", "--seeds", "1"]
    command += ["--labels", "none", "--out", plan.out / "none"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "missing: swwae-all, 6 results" in done.stderr
    assert not (plan.out / "none").exists()


def test_everything_runs_once_and_its_results_fill_the_tables(tmp_path):
    """The smallest one, two iterations a stage, with the real programs."""
    few = ("swwae-all",)
    plan = Reproduction(tmp_path, 1, (100,), 2, ("swwae-all",), few)
    prepare(plan)
    said = io.StringIO()
    result = Schedule(plan.jobs, 2, said).run()
    assert result == ScheduleResult(), said.getvalue()  # none failed, nor was skipped
    rows = write_results(plan, "tools/reproduce.sh", 1.0)
    assert {row["images"] for row in rows} == {500, 100}
    text = (tmp_path / "tables.md").read_text()
    ours, paper = text.split("The paper's")
    assert tables.MISSING not in ours
    assert Schedule(plan.jobs, 2, said).remaining == []
    # what was trained by another seed, or for less long, is not passed off as this
    model = plan.table_models()[0]
    assert model.is_trained
    status = model.run.status()
    for wrong in ({"seed": 77}, {"iterations": 1}):
        model.run.write_status(status | wrong)
        assert not model.is_trained
        left = {job.name for job in Schedule(plan.jobs, 2, said).remaining}
        assert {job.name for job in plan.jobs if FULL in job.name} <= left
    model.run.write_status(status)
    assert Schedule(plan.jobs, 2, said).remaining == []
    # nor what was measured of fewer images
    path = model.run.folder / "results.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps([result | {"images": 7} for result in found]))
    assert {row["images"] for row in write_results(plan, "", 1.0)} == {
        500,
        100,
        None,
    }
    # nor what was begun from weights that have changed since
    weights = plan.table_models()[1].run.previous.final_weights
    weights.write_bytes(weights.read_bytes() + b"\0")
    remaining = Schedule(plan.jobs, 2, said).remaining
    outdated = [job.name for job in remaining if job.must_restart()]
    assert any(name.startswith(f"{FULL}/baseline stage 4") for name in outdated)


def test_one_at_a_time_in_a_folder(tmp_path):
    refused = pytest.raises(UserError, match="another tools/reproduce.sh is at work")
    program = reproduce.PROGRAM
    with (
        exclusive_folder(tmp_path, program),
        refused,
        exclusive_folder(tmp_path, program),
    ):
        pass
    with exclusive_folder(tmp_path, program):
        pass


def test_a_file_is_no_folder_for_runs():
    command = [ROOT / "tools/reproduce.py", "--labels", "none", "--out", "README.md"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "cannot hold the runs" in done.stderr
    assert "Traceback" not in done.stderr
