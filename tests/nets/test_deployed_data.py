"""Where a deployed network's data layers are looked for."""

from swwae.base import project
from swwae.nets.deployed import data_layers_of
from swwae.runs import run as runs
from swwae.runs.run import Run


def test_what_cannot_be_generated_reads_the_baselines_images(tmp_path, monkeypatch):
    """The ladder in a checkout that cannot be written to."""
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "make_on_request", lambda *which: None)
    ladder = Run("vgg8", "ladder", 4)
    own = tmp_path / "models/vgg8/ladder/train_val.prototxt"
    assert data_layers_of(ladder) == own, "it is named where there is none"
    baseline = tmp_path / "models/vgg8/baseline/train_val.prototxt"
    for path in (baseline, own):
        path.parent.mkdir(parents=True)
        path.touch()
        assert data_layers_of(ladder) == path
