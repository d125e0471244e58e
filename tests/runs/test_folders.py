"""A run's folder is taken apart in one place."""

from pathlib import Path

import pytest

from swwae.runs.folders import folder_parts
from swwae.runs.run import Run


@pytest.mark.parametrize("stage", [None, 0, 4])
@pytest.mark.parametrize("depth", [None, 2])
def test_parts_of_a_folder_are_those_it_was_made_of(depth, stage):
    run = Run("vgg8", "swwae-all", 4, depth, Path("/some/runs"))
    folder = run.root / run.place / (f"stage{stage}" if stage is not None else "")
    parts = folder_parts(folder)
    assert parts == (run.root, "vgg8", "swwae-all", depth, stage)


def test_a_folder_is_named_from_where_one_is(tmp_path, monkeypatch):
    folder = tmp_path / "vgg8" / "sae-all" / "stage3"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert folder_parts(Path(".")) == (tmp_path, "vgg8", "sae-all", None, 3)
    assert folder_parts(Path("..")) == (tmp_path, "vgg8", "sae-all", None, None)
    assert folder_parts(Path("../stage9")).variant == "stage9"
