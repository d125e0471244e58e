"""Evaluation on databases of other kinds of images than a network was generated for."""

from dataclasses import replace

import caffe
import numpy as np
import pytest

from generator.errors import UserError
from swwae.base import project
from swwae.evaluation.evaluate import evaluation
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import load
from swwae.images.database import Database, database
from swwae.images.preprocessing import UNSCALED
from tests.helpers.datum_lmdb import floats, image, picture, write

LABELS = (3, 0, 7, 1, 1)


@pytest.fixture
def planned(model, tmp_path, monkeypatch):
    """Plans the evaluation on a database of these records."""
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    usual = model.images("val")

    def plan(name, records, **changes):
        folder = write(tmp_path / name, records)
        found = replace(usual, path=folder, **changes)
        monkeypatch.setattr("swwae.evaluation.model.database", lambda *given: found)
        return evaluation(model, "val")

    return plan


def pixels(*shape) -> np.ndarray:
    random = np.random.default_rng(7)
    return random.integers(0, 256, (len(LABELS), *shape), dtype=np.uint8)


def raw(values: np.ndarray) -> list:
    """Datums of bytes, of (N, C, H, W)."""
    _, channels, height, width = values.shape
    sizes = {"channels": channels, "height": height, "width": width}
    return [
        image(label, data=each.tobytes(), **sizes)
        for each, label in zip(values, LABELS, strict=True)
    ]


def figures(result: dict) -> tuple:
    return tuple(result[key] for key in ("top1_error", "top5_error", "recon_l2"))


def test_floats_16_bits_and_bytes_give_the_same_figures(planned):
    values = pixels(1, 32, 32)
    grey = values[:, 0]
    bytes_each = planned("bytes", raw(values))
    expected = figures(bytes_each.run())
    assert expected[2] > 1 and not bytes_each.notes
    as_floats = [floats(*each) for each in zip(LABELS, values, strict=True)]
    wide = [picture(*each) for each in zip(LABELS, grey * np.uint16(257), strict=True)]
    narrow = [picture(*each) for each in zip(LABELS, grey, strict=True)]
    assert figures(planned("floats", as_floats).run()) == expected
    assert figures(planned("narrow", narrow).run()) == expected
    found = planned("wide", wide)
    assert figures(found.run()) == expected
    assert "5 of 5 are grey of 16 bits and decoded as force_gray: true" in str(found)


def test_colour_pictures_are_decoded_as_caffe_does(planned, model, tmp_path):
    colour = pixels(32, 32, 3)
    found = planned("colour", map(picture, LABELS, colour))
    assert "5 of 5 are colour of 8 bits and decoded as force_gray: true" in str(found)
    layer = tmp_path / "layer.prototxt"
    layer.write_text(
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        f' data_param {{ source: "{found.images.path}" backend: LMDB batch_size: 5 }}'
        " transform_param { force_gray: true } }"
    )
    net = caffe.Net(str(layer), caffe.TEST)
    expected = net.forward()["data"]
    images = [values for values, _ in found.images]
    assert np.array_equal(np.stack(images), expected)
    narrow = planned("narrow", raw(expected.astype(np.uint8)))
    assert figures(found.run()) == figures(narrow.run())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 32, 32), "3x32x32 values, and the network reads grey images: make the"),
        ((1, 6, 6), "1x6x6 values, and the network reads 1x32x32 (channels x height"),
        ((1, 40, 40), "1x40x40 values, and the network reads 1x32x32"),
    ],
)
def test_what_caffe_would_not_take(planned, model, shape, words):
    with pytest.raises(UserError) as raised:
        planned("other", raw(pixels(*shape)))
    assert words in str(raised.value) and "entry 00000000" in str(raised.value)
    with pytest.raises(UserError) as raised:
        load(model, "val:2")
    assert words in str(raised.value) and "entry 00000002" in str(raised.value)


def test_what_is_refused_among_others(planned, tmp_path):
    values = pixels(1, 32, 32)
    odd = floats(3, values[0, :, :20])
    with pytest.raises(UserError, match="1x20x32 values, and the network reads"):
        planned("sizes", [*raw(values), odd])
    wide = image(1, 32, data=bytes(2048))
    with pytest.raises(UserError, match="2 bytes a value, expected one"):
        planned("wide", [wide]).run()


def test_sizes_that_the_parameters_fit_stay(planned, model):
    """28x28 pools to 4x4 in vgg8, as 32x32 does: Caffe trains the classifier on it, but
    no decoder, which unpools to 32x32."""
    values = pixels(1, 28, 28)
    with pytest.raises(UserError, match="1x28x28 values, and the network reads"):
        planned("smaller", raw(values))
    classifier = Model("vgg8", "baseline", None, model.weights_file)
    found = evaluation(classifier, "val")
    assert "they are 1x28x28 and stay so" in str(found)
    output = classifier(values - np.float32(model.preprocessing.mean[0]))
    wrong = output.probabilities.argmax(axis=1) != LABELS
    assert found.run()["top1_error"] == 100 * wrong.mean()
    assert load(classifier, "val:4").shape == (1, 28, 28)


def test_crops_do_not_enlarge(model, tmp_path):
    prepare = replace(model.preprocessing, shorter_edge=UNSCALED)
    folder = write(tmp_path / "crop", raw(pixels(1, 40, 36)) + raw(pixels(1, 30, 40)))
    images = Database(folder, prepare)
    assert images.image(4).shape == (1, 40, 36)
    with pytest.raises(UserError, match="1x30x40 values, and the network reads 1x32"):
        images.image(5)


def test_floats_are_not_resized(model, tmp_path):
    prepare = replace(model.preprocessing, shorter_edge=40)
    folder = write(tmp_path / "floats", [floats(1, pixels(1, 40, 40)[0])])
    with pytest.raises(UserError, match="which Caffe cannot resize"):
        Database(folder, prepare).image(0)


def test_floats_are_read_as_caffe_reads_them(tmp_path):
    random = np.random.default_rng(3)
    values = random.normal(0, 40, (3, 2, 5, 6)).astype(np.float32)
    folder = write(tmp_path / "floats", map(floats, (0, 1, 2), values))
    path = tmp_path / "train_val.prototxt"
    path.write_text(
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        f' data_param {{ source: "{folder}" backend: LMDB batch_size: 3 }}'
        " transform_param { mean_value: 7.5 crop_size: 4 } }"
    )
    net = caffe.Net(str(path), caffe.TEST)
    images = database(path, "val", (2, 4, 4))
    prepared = [images.preprocessing(each) for each, _ in images]
    assert np.array_equal(prepared, net.forward()["data"])
