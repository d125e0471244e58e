"""Evaluation on databases with odd labels, and on damaged ones."""

from dataclasses import replace

import numpy as np
import pytest

from generator.errors import UserError
from swwae.base import project
from swwae.evaluation.evaluate import describe, evaluate, evaluation
from tests.helpers.datum_lmdb import PAGE, image, kinds, overwrite, write

LEAF = 2


@pytest.fixture
def read(model, tmp_path, monkeypatch):
    """Plans the evaluation on images with these labels, of random pixels."""
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    usual = model.images("val")

    def planned(labels, folder=tmp_path / "some_lmdb"):
        random = np.random.default_rng(1)
        if not folder.exists():
            write(folder, (image(n, 32, data=random.bytes(1024)) for n in labels))
        images = replace(usual, path=folder)
        monkeypatch.setattr(type(model), "images", lambda self, split: images)
        return evaluation(model, "val")

    return planned


def test_images_without_a_label_are_reconstructed_alone(read, model):
    labels = [3, -1, 0, -1, 7]
    found = read(labels).run()
    places = [0, 2, 4]
    labelled = evaluate(model, read(labels).images, places)
    assert found["images"] == 5 and found["unlabelled"] == 2
    assert found["top1_error"] == labelled["top1_error"]
    assert found["top5_error"] == labelled["top5_error"]
    assert "unlabelled" not in labelled
    assert "without a label 2, which no error counts" in describe(found)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 10], "has the labels 0 and 10, the network 10 classes, 0 to 9"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "has the labels 1 to 10"),
        ([0, -2], "has the labels -2 and 0"),
        ([-1, -1], "have no labels (-1 stands for none)"),
        ([], "is empty: it holds no image"),
    ],
)
def test_what_is_refused_before_anything_runs(read, labels, words):
    with pytest.raises(UserError) as raised:
        read(labels)
    assert words in str(raised.value)


def test_no_image_that_was_drawn_has_a_label(read, model):
    planned = read([-1, 4])
    with pytest.raises(UserError, match="have no labels"):
        evaluate(model, planned.images, [0])


def test_damage_is_named(read, tmp_path):
    read([1, 2])
    folder = tmp_path / "some_lmdb"
    whole = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(whole[:-PAGE])
    with pytest.raises(UserError, match="some_lmdb lacks its end"):
        read([])
    (folder / "data.mdb").write_bytes(whole)
    planned = read([])
    overwrite(folder, kinds(folder).index(LEAF), bytes(PAGE))
    with pytest.raises(UserError, match="some_lmdb is damaged: page"):
        read([])
    with pytest.raises(UserError, match="some_lmdb is damaged: page"):
        planned.run()  # that rotted after it was looked at
