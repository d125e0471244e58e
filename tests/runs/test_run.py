"""Which runs there are, where they live, and what precedes them."""

import json
import os
import platform

import pytest

from generator.__main__ import main as generate
from generator.errors import UserError
from swwae.base import files, project
from swwae.runs.run import Run


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    return tmp_path


def test_names_of_the_same_run_are_equal():
    assert Run("vgg16", "swwae-all", 2) == Run("vgg16", "swwae-first", 2)
    assert Run("vgg16", "sae-all", 0) == Run("vgg16", "baseline", 0)
    assert Run("vgg16", "sae-all", 4) != Run("vgg16", "sae-first", 4)
    assert Run("vgg16", "swwae-all", 4, depth=5) == Run("vgg16", "swwae-all", 4)


def test_folders(root):
    assert Run("vgg16", "swwae-all", 2).folder == (
        root / "runs" / "vgg16" / "swwae-layerwise" / "stage2"
    )
    deep = Run("vgg16", "sae-first", 3, depth=2)
    assert deep.folder == root / "runs" / "vgg16" / "sae-first" / "depth2" / "stage3"
    assert deep.network == (
        root / "models" / "vgg16" / "sae-first" / "depth2" / "decoder.prototxt"
    )
    assert deep.solver == (
        root / "solvers" / "vgg16" / "sae-first" / "depth2" / "stage3.prototxt"
    )
    assert deep.command == (
        "tools/run_stage.sh 3 --net vgg16 --variant sae-first --depth 2"
    )


@pytest.mark.parametrize(
    ("variant", "stages"),
    [
        ("swwae-all", [0, 1, 2, 3]),
        ("swwae-first", [0, 1, 2, 3]),
        ("sae-layerwise", [0, 1, 2]),
        ("baseline", [0, 1]),
    ],
)
def test_what_precedes_stage_4(variant, stages):
    missing = Run("vgg16", variant, 4, depth=3).missing()
    assert [run.stage for run in missing] == stages
    depths = {run.stage: run.depth for run in missing}
    assert depths.pop(0) is None
    expected = None if variant == "baseline" else 3
    assert set(depths.values()) == {expected}


def test_finished_runs_are_not_missing():
    finish(Run("vgg16", "swwae-all", 2))
    missing = Run("vgg16", "swwae-all", 4).missing()
    assert [run.stage for run in missing] == [3]
    # finished, but what it made is gone
    Run("vgg16", "swwae-all", 2).final_weights.unlink()
    missing = Run("vgg16", "swwae-all", 4).missing()
    assert [run.stage for run in missing] == [0, 1, 2, 3]


def finish(run):
    run.folder.mkdir(parents=True)
    run.write_status({"state": "finished", "iterations": 0})
    run.final_weights.touch()


def test_a_run_that_nothing_holds_was_interrupted():
    run = Run("vgg16", "swwae-all", 4)
    assert run.status() == {}
    with run.locked():
        run.write_status({"state": "running", "iterations": 0})
        assert run.status()["state"] == "running"
        with pytest.raises(UserError, match="being run already, by process"):
            run.locked().__enter__()
    assert run.status()["state"] == "interrupted"
    stored = json.loads((run.folder / "status.json").read_text())
    assert stored["state"] == "running"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"{os.getpid()} on {platform.node()}", f"by process {os.getpid()};"),
        (f"{os.getpid()} on elsewhere", f"by process {os.getpid()} on elsewhere;"),
        (f"4194305 on {platform.node()}", "by Caffe, .* as process 4194305 has,"),
        ("", "by another process;"),
    ],
)
def test_who_holds_a_run_is_said(said, words):
    run = Run("vgg16", "swwae-all", 4)
    with run.locked():
        (run.folder / ".lock").write_text(said)
        with pytest.raises(UserError, match=words), run.locked():
            raise AssertionError("two hold it")


@pytest.mark.parametrize(
    "text",
    [
        *(
            '{"state": "runn',
            "{}",
            "[]",
            '{"state": 1}',
            '{"state": "finished"}',
            "\x00",
        ),
        *("[" * 5000, '{"state": [], "iterations": 1}'),
        *(
            f'{{"state": "finished", "iterations": {number}}}'
            for number in ("true", "-1", "1.5", "null")
        ),
        *(
            f'{{"state": "finished", "iterations": 1, "{name}": {value}}}'
            for name, value in {
                "command": '[["x"]]',
                "data": "[1]",
                "resumed_from": "null",
                "earlier_sessions": "1",
                "seconds": "1e999",
                "max_iter": '"1"',
                "seed": "0.5",
            }.items()
        ),
    ],
)
def test_a_damaged_status_names_what_mends_it(text):
    run = Run("vgg16", "swwae-all", 4)
    run.folder.mkdir(parents=True)
    (run.folder / "status.json").write_text(text)
    with pytest.raises(UserError, match="damaged.*run_stage.sh 4 .* makes it anew"):
        run.status()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("vgg61", "swwae-all", 4), "did you mean vgg16"),
        (("vgg16", "swwae", 4), "did you mean swwae-all"),
        (("vgg16", "swwae-all", 7), "stages are 0 to 4"),
        (("vgg16", "baseline", 3), "its stages are 0, 1 and 4"),
        (("vgg16", "sae-layerwise", 3), "the paper skips it"),
        (("vgg16", "sae-all", 3, 9), "from 1 to 8"),
        (("vgg16", "sae-all", 3, 0), "from 1 to 8"),
    ],
)
def test_runs_that_there_are_not(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        Run(*arguments)


def test_networks_that_were_generated_from_a_file_are_known(root):
    (root / "models" / "mine").mkdir(parents=True)
    assert Run("mine", "swwae-all", 4, depth=40).place == "mine/swwae-all/depth40"


def test_check_writable(root):
    files.check_writable(root / "x.png")
    assert not list(root.iterdir())
    with pytest.raises(UserError, match="is a folder"):
        files.check_writable(root)
    with pytest.raises(UserError, match="no folder sub: make it"):
        files.check_writable(root / "sub" / "x.png")


def test_a_refused_run_leaves_no_folder(root):
    started, refused = Run("vgg8", "sae-all", 3), Run("vgg8", "sae-all", 4)
    with started.locked():
        started.log.write_text("iteration 1")
    for run in (refused, Run("vgg8", "baseline", 4)):
        with pytest.raises(UserError), run.locked():
            assert run.is_locked()
            raise UserError("weights are missing")
        assert not run.folder.exists()
    assert started.log.read_text() == "iteration 1"
    assert [p.name for p in (root / "runs/vgg8").iterdir()] == ["sae-all"]


def test_a_built_in_ladder_is_generated_by_the_first_who_looks(root):
    run = Run("vgg8", "ladder", 2)
    assert not list(root.iterdir())
    for path in (run.solver, run.network, run.models / "deploy.prototxt"):
        assert path.is_file()
        assert path.read_text().startswith("# Generated by `python -m generator vgg8")
    assert 'net: "models/vgg8/ladder/pretrain.prototxt"' in run.solver.read_text()
    run.solver.write_text("# mine now\n")  # a rate that somebody has lowered stays
    assert Run("vgg8", "ladder", 2).solver.read_text() == "# mine now\n"
    assert not Run("vgg8", "swwae-all", 4).network.exists()
    assert not Run("vgg8", "ladder", 4, depth=2).network.exists()


def test_a_ladder_of_another_command_than_the_manifests_is_generated_anew(root):
    mean = ["vgg8", "--variant", "ladder", "--mean-value", "7", "--out", str(root)]
    assert generate(mean) == 0
    assert "mean_value: 7" in Run("vgg8", "ladder", 4).network.read_text()
    assert generate(["vgg8", "--variant", "baseline", "--out", str(root)]) == 0
    manifest = root / "models/vgg8/network.json"
    manifest.write_text(manifest.read_text().replace(" --mean-value 7", ""))
    assert "mean_value: 7" not in Run("vgg8", "ladder", 4).network.read_text()


def test_where_a_ladder_cannot_be_generated_its_command_is_named(root):
    (root / "models").write_text("in the way")
    run = Run("vgg8", "ladder", 2)
    assert not run.solver.exists()
    assert run.generator_command == (
        ".venv/bin/python -m generator vgg8 --variant ladder"
    )


def test_what_was_generated_with_other_data_is_made_again_with_them(root):
    arguments = ["vgg8", "--variant", "sae-all", "--name", "mine", "--data", "data/x"]
    assert generate([*arguments, "--out", str(root)]) == 0
    command = Run("mine", "sae-all", 4).generator_command
    assert command == (
        ".venv/bin/python -m generator vgg8 --name mine --variant sae-all --data data/x"
    )
