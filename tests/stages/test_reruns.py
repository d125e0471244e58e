"""What is there already when a stage is run: a folder that was moved, another run's, or
one that was begun with something else. Nothing of it is lost."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from swwae.nets.databases import KEPT
from tests.helpers.stage_files import parameters
from tests.helpers.tiny_project import EPOCH, Project

DONE, MORE = 4 * EPOCH, 6 * EPOCH
"""Iterations of the runs that are there, and of those that are asked for."""

CHAIN = ((0,), (1, "--variant", "swwae-all"), (2, "--variant", "swwae-all"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Stages 0 to 2; stage 0 has done DONE iterations with the solver's seed, 5."""
    project = Project(tmp_path_factory.mktemp("reruns") / "project")
    for arguments in CHAIN:
        project.run(*arguments)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    shutil.copytree(trained.root / "runs", project.root / "runs")
    return project


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and KEPT not in path.parts
    }


def refused(project: Project, *arguments: object, runs: str = "runs") -> str:
    """What a stage says that must not touch anything."""
    before = contents(project.root / runs)
    said = project.run(*arguments, code=2, runs=runs)
    assert contents(project.root / runs) == before
    return said


# --- runs that moved


def test_a_folder_of_runs_that_moved_goes_on_as_if_it_had_not(project):
    elsewhere = project.root.parent / "elsewhere"
    shutil.copytree(project.root / "runs", elsewhere)
    project.run(0, "--max-iter", MORE)
    expected = (project.folder("baseline", 0) / "final.caffemodel").read_bytes()
    said = project.run(0, "--max-iter", MORE, runs=str(elsewhere))
    assert f"snapshot of iteration {DONE}" in said
    folder = elsewhere / "tiny/baseline/stage0"
    assert (folder / "final.caffemodel").read_bytes() == expected
    assert (folder / "train.log").read_text().count("==== ") == 2


def test_a_copy_does_not_read_the_weights_of_the_run_that_it_was_copied_from(project):
    """Whose snapshot has other weights meanwhile, under the same name."""
    shutil.copytree(project.root / "runs", project.root / "copied")
    project.run(0, "--force", "--seed", 7)
    copied = project.root / "copied/tiny/baseline/stage0/final.caffemodel"
    before = parameters(copied)["conv1"][0]
    project.run(0, "--max-iter", DONE + 1, runs="copied")
    step = abs(parameters(copied)["conv1"][0] - before).max()
    other = parameters(project.folder("baseline", 0) / "final.caffemodel")["conv1"][0]
    assert 0 < step < 0.1 * abs(other - before).max()


def test_stages_that_moved_together_build_on_each_other(project):
    shutil.copytree(project.root / "runs", project.root / "copied")
    project.run(0, "--force", "--seed", 7)
    stage_3 = (3, "--variant", "swwae-all")
    said = refused(project, *stage_3)
    assert "stage 1 of tiny/swwae-layerwise is out of date" in said
    project.run(*stage_3, runs="copied")
    # moved, and then one of them made anew
    shutil.rmtree(project.root / "runs")
    project.run(0, "--force", "--seed", 7, runs="copied")
    said = refused(project, *stage_3, "--force", runs="copied")
    assert "stage 1 of tiny/swwae-layerwise is out of date" in said
    assert (
        "the weights copied/tiny/baseline/stage0/final.caffemodel that it began from"
        " have changed since" in said
    )


def test_the_command_that_is_named_finds_the_run(project):
    """Typed as it stands it must not start over the run of the same name in runs/."""
    (project.root / "runs").rename(project.root / "some runs")
    said = refused(project, 0, "--seed", 9, runs="some runs")
    command = "RUNS_DIR='some runs' tools/run_stage.sh 0 --net tiny --seed 9 --force"
    assert command in said
    subprocess.run(["bash", "-c", command], cwd=project.root, check=True)
    status = project.root / "some runs/tiny/baseline/stage0/status.json"
    assert json.loads(status.read_text())["seed"] == 9
    assert not (project.root / "runs").exists()


def test_another_stages_folder_is_left_alone(project):
    joint = project.folder("baseline", 4)
    shutil.copytree(project.folder("baseline", 0), joint)
    said = refused(project, 4, "--variant", "baseline")
    assert (
        "runs/tiny/baseline/stage4 holds stage 0 of tiny/baseline, not stage 4" in said
    )
    for path in joint.glob("snapshot_iter_*"):
        path.unlink()
    (joint / "final.caffemodel").unlink()
    mine = project.folder("baseline", 0) / "final.caffemodel"
    said = refused(project, 4, "--variant", "baseline", "--weights", mine)
    assert "holds stage 0 of" in said


def test_snapshots_of_another_network_or_iteration_are_left_alone(project):
    folder = project.folder("baseline", 0)
    (folder / "status.json").unlink()
    project.write_networks("baseline", outputs=5)
    said = project.run(0, code=2)
    assert "the status.json of stage 0 of tiny/baseline is missing" in said
    said = refused(project, 0)
    assert f"snapshot_iter_{DONE}.caffemodel is of another network (conv1" in said
    project.write_networks("baseline")
    for path in folder.glob("snapshot_iter_*"):
        path.rename(path.with_stem("snapshot_iter_99"))
    said = refused(project, 0)
    assert f"snapshot_iter_99.solverstate is of iteration {DONE};" in said


@pytest.mark.parametrize("arguments", CHAIN[:2])
def test_final_weights_alone_are_not_replaced(project, arguments):
    variant = "swwae-layerwise" if arguments[0] else "baseline"
    folder = project.folder(variant, arguments[0])
    for path in folder.iterdir():
        if path.name != "final.caffemodel":
            path.unlink()
    said = refused(project, *arguments)
    assert f"would replace runs/tiny/{variant}" in said and "--force" in said


def test_starting_over_keeps_what_no_stage_has_made(project):
    folder = project.folder("baseline", 0)
    (folder / "final.caffemodel").rename(folder / "mine.caffemodel")
    kept = (folder / "mine.caffemodel").read_bytes()
    for path in folder.glob("snapshot_iter_*"):
        path.unlink()
    assert "it starts over" in project.run(0)
    assert (folder / "mine.caffemodel").read_bytes() == kept
    assert (folder / "train.log").read_text().count("==== ") == 1


# --- options and files that contradict what is there


def test_another_seed_is_refused_and_none_keeps_the_runs(project):
    for more in ((), ("--max-iter", MORE)):
        said = refused(project, 0, "--seed", 9, *more)
        assert "it was begun with the seed 5, not 9; tools/run_stage.sh 0" in said
    said = refused(project, *CHAIN[1], "--seed", 9)
    assert "it was begun with the seed 1, not 9" in said
    assert "is finished" in project.run(0, "--seed", 5)
    project.run(0, "--seed", 9, "--force")
    project.run(0, "--max-iter", MORE)
    assert project.status("baseline", 0)["seed"] == 9
    solver = project.folder("baseline", 0) / "solver.prototxt"
    assert "random_seed: 9" in solver.read_text()


def test_other_weights_are_refused(project):
    mine = project.root / "mine.caffemodel"
    shutil.copyfile(project.folder("baseline", 0) / "final.caffemodel", mine)
    for more in ((), ("--max-iter", MORE)):
        said = refused(project, 0, "--weights", mine, *more)
        assert "it began from no weights, not from mine.caffemodel" in said
    assert "is finished" in project.run(*CHAIN[1], "--weights", mine)
    said = refused(
        project,
        *CHAIN[1],
        "--weights",
        project.folder("swwae-layerwise", 2) / "final.caffemodel",
    )
    assert (
        "it began from runs/tiny/baseline/stage0/final.caffemodel, not from"
        " runs/tiny/swwae-layerwise/stage2/final.caffemodel" in said
    )
    said = refused(project, 0, "--weights", project.root / "nowhere.caffemodel")
    assert "the weights nowhere.caffemodel cannot be read: No such file" in said
    # those that a run began from stay known where it goes on without naming them
    project.run(0, "--force", "--weights", mine)
    project.run(0, "--max-iter", MORE)
    assert project.status("baseline", 0)["weights_in"]["path"] == "mine.caffemodel"


def test_other_data_and_another_network_are_refused(project):
    other = project.root / "data/tiny/other_lmdb"
    shutil.copytree(project.root / "data/tiny/train_lmdb", other)
    path = project.root / "models/tiny/baseline/train_val.prototxt"
    text = path.read_text()
    path.write_text(text.replace("tiny/train_lmdb", "tiny/other_lmdb"))
    for more in ((), ("--max-iter", MORE)):
        said = refused(project, 0, *more)
        assert (
            "the data data/tiny/train_lmdb, data/tiny/test_lmdb then,"
            " data/tiny/other_lmdb, data/tiny/test_lmdb now" in said
        )
    project.write_networks("baseline", outputs=5)
    assert "train_val.prototxt has changed since (sha256" in refused(project, 0)
    assert "has changed since (sha256" in refused(project, 0, "--max-iter", MORE)


# --- a status that is damaged


def damaged(project: Project, stage: int, keep: float, *names: str) -> None:
    """Cuts a status short, to a share of its length; or removes what is named."""
    variant = "swwae-layerwise" if stage else "baseline"
    path = project.folder(variant, stage) / "status.json"
    text = path.read_text()
    if names:
        whole = json.loads(text)
        text = json.dumps({name: whole[name] for name in whole if name not in names})
    path.write_text(text[: int(keep * len(text))])


SAME = ("seed", "iterations", "max_iter", "weights_out", "final_losses", "state")


@pytest.mark.parametrize(("keep", "names"), [(0, ()), (0.7, ()), (1, ("state",))])
def test_a_damaged_status_is_made_anew_and_nothing_is_trained_again(
    project, keep, names
):
    before = project.status("baseline", 0)
    files = contents(project.folder("baseline", 0))
    damaged(project, 0, keep, *names)
    said = project.run(1, "--variant", "swwae-all", "--force", code=2)
    assert "runs/tiny/baseline/stage0/status.json is damaged" in said
    assert "tools/run_stage.sh 0 --net tiny --variant baseline makes it anew" in said
    said = project.run(0)
    assert f"made anew of what lies beside it: finished, {DONE} iterations" in said
    assert f"is finished, {DONE} iterations" in said
    after = project.status("baseline", 0)
    assert {name: after[name] for name in SAME} == {name: before[name] for name in SAME}
    files.pop("status.json")
    assert files.items() <= contents(project.folder("baseline", 0)).items()
    # it is refused what it was refused before
    assert "begun with the seed 5, not 9" in refused(project, 0, "--seed", 9)
    project.write_solver("baseline", 0, base_lr=0.02)
    assert "base_lr 0.01 then, 0.02 now" in refused(project, 0)


def test_a_damaged_status_of_an_interrupted_stage_goes_on(project):
    """Its final weights are of fewer iterations than its snapshot."""
    (project.folder("baseline", 0) / "final.caffemodel").rename(project.root / "old")
    project.run(0, "--max-iter", MORE)
    final = project.folder("baseline", 0) / "final.caffemodel"
    expected = final.read_bytes()
    shutil.copyfile(project.root / "old", final)
    damaged(project, 0, 0.3)
    said = project.run(0, "--max-iter", MORE)
    assert f"beside it: interrupted, {MORE} iterations" in said
    assert f"snapshot of iteration {MORE}" in said
    assert final.read_bytes() == expected


def test_stages_with_a_fixed_encoder_or_none_to_train_are_repaired(project):
    for stage, share in ((1, 0.1), (2, 0.1)):
        damaged(project, stage, share)
        said = project.run(*CHAIN[stage])
        assert "beside it: finished," in said and "is finished" in said
    project.run(3, "--variant", "swwae-all")
