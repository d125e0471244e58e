"""Results beside the weights that they are of."""

import hashlib
import json

import pytest

from generator.errors import UserError
from swwae.base import project
from swwae.evaluation import results
from swwae.runs.run import Run

RESULT = {
    "net": "vgg8",
    "variant": "sae-all",
    "depth": 3,
    "weights": "runs/vgg8/sae-all/stage4/final.caffemodel",
    "scheme": "single-crop",
    "mirrored": False,
    "split": "val",
    "seed": None,
    "images": 10000,
    "top1_error": 9.0,
    "top5_error": 0.5,
    "recon_l2": 17.0,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    found = Run("vgg8", "sae-all", 4, None, tmp_path / "runs")
    finish(found, b"weights")
    return found


def finish(run, content):
    run.folder.mkdir(parents=True, exist_ok=True)
    run.final_weights.write_bytes(content)
    run.write_status({"state": "finished", "iterations": 5})


def record(run, result):
    return results.record(run, result, results.checksum_of(run.final_weights))


def test_what_is_recorded_is_known(run):
    assert results.known(run) == []
    record(run, RESULT)
    (found,) = results.known(run)
    checksum = hashlib.sha256(b"weights").hexdigest()
    assert found == RESULT | {"weights_sha256": checksum}


def test_the_same_is_replaced_and_another_added(run):
    record(run, RESULT)
    record(run, RESULT | {"top1_error": 8.0})
    for other in ({"depth": 2}, {"scheme": "convolution"}, {"split": "train"}):
        record(run, RESULT | other)
    found = results.known(run)
    assert [each["top1_error"] for each in found] == [8, 9, 9, 9]
    wanted = RESULT | {"depth": 2, "top1_error": None}
    assert results.find(run, wanted)["depth"] == 2
    assert results.find(run, wanted | {"images": 7}) is None


def test_results_of_weights_that_are_gone_are_not_known(run):
    record(run, RESULT)
    finish(run, b"others")
    assert results.known(run) == []
    record(run, RESULT | {"depth": 1})
    assert [each["depth"] for each in results.known(run)] == [1]
    assert len(json.loads((run.folder / results.NAME).read_text())) == 1


def test_a_result_of_weights_that_were_replaced_meanwhile_is_dropped(run):
    before = results.checksum_of(run.final_weights)
    finish(run, b"others")
    assert not results.record(run, RESULT, before)
    assert not (run.folder / results.NAME).exists()


def test_results_of_a_run_that_is_trained_again_are_not_known(run):
    record(run, RESULT)
    run.write_status(run.status() | {"state": "running"})
    assert results.known(run) == []


def test_the_owner_of_weights(run, tmp_path):
    assert results.owner(run.final_weights) == run
    copy = tmp_path / "copy.caffemodel"
    copy.write_bytes(b"")
    assert results.owner(copy) is None
    assert results.owner(run.folder / "snapshot_iter_5.caffemodel") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON file"),
        ("[1]", "is no result of tools/evaluate.py"),
        (json.dumps([RESULT]), "holds other things than results"),
    ],
)
def test_a_damaged_file_is_named(run, text, said):
    (run.folder / results.NAME).write_text(text)
    with pytest.raises(UserError, match=said):
        results.known(run)
    with pytest.raises(UserError, match=said):
        record(run, RESULT)
    assert (run.folder / results.NAME).read_text() == text
