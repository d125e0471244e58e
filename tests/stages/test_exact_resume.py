"""A training that is killed and resumed ends as if it had never been: bit for bit."""

import shutil
from pathlib import Path

import pytest

from swwae.stages import snapshots
from tests.helpers import killed

STAGES = {
    0: ("baseline", "train_val", {}),
    2: ("swwae-layerwise", "pretrain", {}),
    3: ("swwae-all", "decoder", {}),
    4: ("swwae-all", "train_val", {"iter_size": 2, "test_initialization": True}),
    "ladder": ("ladder", "train_val", {"test_initialization": False}),
}
"""Stage -> what it trains, and settings of its solver. (Stage 1 trains nothing.)"""


@pytest.mark.parametrize("engine", ["DNNL", "CAFFE"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_equals_undisturbed(tmp_path, stage, engine):
    variant, kind, settings = STAGES[stage]
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    killed.write_network(killed.networks(variant)[kind], undisturbed)
    killed.write_solver(undisturbed, random_seed=7, **settings)
    shutil.copytree(undisturbed, disturbed)
    assert killed.train(undisturbed, engine) == []
    resumed = killed.train(disturbed, engine, kills=3, seed=len(engine))
    assert any(0 < iteration < killed.ITERATIONS for iteration in resumed)
    expected = killed.left(undisturbed)
    assert len(expected) == 2
    assert killed.left(disturbed) == expected, resumed
    # The tests' data go on where they were, too.
    assert killed.tests_said(disturbed) == killed.tests_said(undisturbed)


def resumed_from(folder: Path, iteration: int) -> dict[str, bytes]:
    """What a training that was done leaves where it goes on from before its end."""
    snapshots.remove_after(folder / "run", iteration)
    process = killed.start(
        folder, "DNNL", snapshots.solver_state(folder / "run", iteration)
    )
    assert process.wait(timeout=60) == 0
    return killed.left(folder)


def test_without_a_seed_the_one_that_was_chosen_stays(tmp_path):
    """Two trainings differ, and a resumed one does not differ from itself."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
        killed.write_network(killed.networks("baseline")["train_val"], folder)
        killed.write_solver(folder)
        killed.train(folder, "DNNL")
    one, other = map(killed.left, folders)
    assert one != other
    assert resumed_from(folders[0], 4) == one


@pytest.mark.parametrize("shuffled", [False, True])
def test_lists_of_images_go_on_where_they_were(tmp_path, shuffled):
    text = killed.networks("baseline")["train_val"]
    killed.write_network(text, tmp_path)
    killed.use_list_of_images(tmp_path, shuffled)
    killed.write_solver(tmp_path, random_seed=7)
    killed.train(tmp_path, "DNNL")
    expected = killed.left(tmp_path)
    assert resumed_from(tmp_path, 6) == expected
