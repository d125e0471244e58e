"""evaluate.py's two test schemes on photographs of many shapes, against arithmetic."""

import os
from contextlib import closing

import caffe
import numpy as np
import pytest

from generator.__main__ import main
from generator.errors import UserError
from swwae.base import project
from swwae.base.project import ROOT
from swwae.evaluation.evaluate import batches, evaluate, selected
from swwae.evaluation.model import (
    BATCH_BYTES,
    LARGEST_BATCH,
    FullyConvolutional,
    Model,
)
from swwae.images import database
from swwae.images.loader import prepared
from swwae.nets import network
from swwae.nets.transformation import transformation
from swwae.nets.weights import load as load_weights
from swwae.nets.weights import read as read_weights
from swwae.nets.weights import save as save_weights
from tests.helpers import arithmetic
from tests.helpers.photographs import COLOUR, encoded, jpeg, photograph, raw, write_lmdb

CLASSES = 20
CROP = 48

DATA = """
layer {{
  name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{
    mean_value: 104 mean_value: 117 mean_value: 124 {fields} crop_size: 48
  }}
  data_param {{ source: "{source}" backend: LMDB batch_size: 4 }}
}}
"""

LAYERS = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 4 stride: 4 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc3" type: "InnerProduct" bottom: "pool2" top: "fc3"
  inner_product_param { num_output: 24 } }
layer { name: "relu3" type: "ReLU" bottom: "fc3" top: "fc3" }
layer { name: "fc4" type: "InnerProduct" bottom: "fc3" top: "fc4"
  inner_product_param { num_output: 20 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc4" bottom: "label" top: "loss" }
"""


def pictures():
    """53 parts of photographs, of eleven shapes."""
    random = np.random.default_rng(6)
    sizes = [(150, 100), (100, 150), (90, 90), (64, 200), (131, 77), (200, 64)]
    sizes += [(500, 70), (80, 81), (60, 40), (64, 64), (48, 300)]
    whole = [photograph(name) for name in COLOUR]
    for index in range(53):
        picture, (wide, high) = whole[index % len(whole)], sizes[index % len(sizes)]
        picture = picture.resize((picture.width * 2, picture.height * 2))
        left = int(random.integers(picture.width - wide))
        top = int(random.integers(picture.height - high))
        yield picture.crop((left, top, left + wide, top + high))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A user's network on photographs: its folder, its random weights."""
    root = tmp_path_factory.mktemp("small")
    labels = np.random.default_rng(5).integers(0, CLASSES, 53)
    datums = [
        raw(picture, int(label)) if index % 3 == 0 else encoded(jpeg(picture), label)
        for index, (picture, label) in enumerate(zip(pictures(), labels, strict=True))
    ]
    source = write_lmdb(root / "photographs_lmdb", datums)
    training = "shorter_edge: 64 shorter_edge_max: 96 mirror: true"
    text = DATA.format(phase="TRAIN", fields=training, source=source)
    text += DATA.format(phase="TEST", fields="shorter_edge: 64", source=source)
    file = root / "small.prototxt"
    file.write_text(text + LAYERS)
    out = root / "generated"
    assert main([str(file), "--variant", "swwae-all", "--out", str(out)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "ROOT", out)
        net = caffe.Net(str(out / "models/small/swwae-all/deploy.prototxt"), caffe.TEST)
        random = np.random.default_rng(8)
        for blobs in net.params.values():
            size = np.prod(blobs[0].shape[1:])
            blobs[0].data[...] = random.normal(0, (2 / size) ** 0.5, blobs[0].shape)
            blobs[1].data[...] = random.normal(0, 0.1, blobs[1].shape)
        net.params["conv1"][0].data[...] /= 20  # pixels are in 0..255
        path = root / "small.caffemodel"
        net.save(str(path))
        yield out, path


def probabilities(folder, weights, image):
    """Of a prepared image (C, H, W): windows of the last pooling, one by one."""
    deploy = network.read(folder / "models/small/swwae-all/deploy.prototxt")
    names = [layer.name for layer in deploy.layer]
    del deploy.layer[names.index("pool2") + 1 :]
    params = read_weights(weights)
    (w3, b3), (w4, b4) = params["fc3"], params["fc4"]
    views = []
    for view in (image, image[:, :, ::-1]):
        blobs = arithmetic.forward(deploy, params, {"data": view[None]}, caffe.TEST)
        pooled = blobs["pool2"][0]
        side = CROP // 8
        scores = [
            w4 @ np.maximum(w3 @ pooled[:, y : y + side, x : x + side].ravel() + b3, 0)
            + b4
            for y in range(pooled.shape[1] - side + 1)
            for x in range(pooled.shape[2] - side + 1)
        ]
        mean = np.mean(scores, axis=0)
        exponents = np.exp(mean - mean.max())
        views.append(exponents / exponents.sum())
    return np.array(views)


def errors(ranks):
    return [100 * np.mean(np.array(ranks) >= k) for k in (1, 5)]


def test_convolution_is_the_average_over_all_windows_and_the_mirror_image(small):
    folder, weights = small
    model = FullyConvolutional("small", "swwae-all", None, weights)
    images = model.images("val")
    prepare = images.preprocessing
    ranks, mirror_matters, shapes = [], 0.0, set()
    for image, label in images:
        data = prepare(image)
        views = probabilities(folder, weights, data)
        expected = views.mean(axis=0)
        found = model(data[None])
        np.testing.assert_allclose(found.probabilities[0], expected, atol=2e-4)
        assert found.reconstructions is None
        ranks.append(np.argsort(-expected).tolist().index(label))
        mirror_matters = max(mirror_matters, np.abs(views[0] - views[1]).max())
        shapes.add(data.shape)
    assert mirror_matters > 0.05
    assert len(shapes) > 5
    result = evaluate(model, images)
    assert [result["top1_error"], result["top5_error"]] == pytest.approx(errors(ranks))
    assert result["recon_l2"] is None
    assert 0 < result["top5_error"] < result["top1_error"] < 100


def test_a_network_that_never_saw_mirror_images_is_given_none(small, monkeypatch):
    folder, weights = small
    for net, mirrors in (("vgg8", False), ("vgg16", True), ("alexnet", True)):
        path = ROOT / f"models/{net}/swwae-all/train_val.prototxt"
        assert transformation(path, "train").mirror == mirrors
    model = FullyConvolutional("small", "swwae-all", None, weights)
    monkeypatch.setitem(vars(model), "mirrors", False)
    images = model.images("val")
    data = images.preprocessing(next(iter(images))[0])
    straight = probabilities(folder, weights, data)[0]
    found = model(data[None]).probabilities[0]
    np.testing.assert_allclose(found, straight, atol=2e-4)


def test_single_crop_is_the_centre_alone(small):
    folder, weights = small
    model = Model("small", "swwae-all", None, weights)
    images = model.images("val")
    net = caffe.Net(
        str(folder / "models/small/swwae-all/deploy.prototxt"),
        caffe.TEST,
        weights=str(weights),
    )
    ranks, l2 = [], []
    for image, label in images:
        data = images.preprocessing(image)
        expected = probabilities(folder, weights, data)[0]
        ranks.append(np.argsort(-expected).tolist().index(label))
        net.blobs["data"].data[0] = data
        copy = net.forward()["dec:data"][0]
        l2.append(np.sum((copy.astype(float) - data / 255.0) ** 2))
    result = evaluate(model, images)
    assert [result["top1_error"], result["top5_error"]] == pytest.approx(errors(ranks))
    assert result["recon_l2"] == pytest.approx(np.mean(l2), rel=1e-5)


@pytest.mark.parametrize("kind", [Model, FullyConvolutional])
def test_the_answer_is_the_same_at_any_batch_size(kind, small):
    model = kind("small", "swwae-all", None, small[1])
    images = model.images("val")
    default = evaluate(model, images)
    for batch in (1, 3, 7, 50):
        result = evaluate(model, images, batch=batch)
        assert result == default | {"recon_l2": result["recon_l2"]}
        if kind is Model:
            assert result["recon_l2"] == pytest.approx(default["recon_l2"], rel=1e-6)


def test_batches_lose_nothing_and_hold_one_shape():
    random = np.random.default_rng(0)
    shapes = [(3, 8, 8), (3, 8, 9), (3, 8, 12)]
    items = [
        (place, (np.zeros(shapes[kind]), place % 7))
        for place, kind in enumerate(random.choice(3, 500, p=[0.7, 0.25, 0.05]))
    ]
    seen = []
    for size, waiting in ((1, 10), (4, 10), (50, 20), (50, 1000)):
        seen.clear()
        most = 0
        for group in batches(iter(items), lambda shape, size=size: size, waiting):
            assert len({image.shape for _, (image, _) in group}) == 1
            assert len(group) <= size
            seen += group
            most = max(most, group[-1][0] + 1 - len(seen))
        assert sorted(place for place, _ in seen) == list(range(500))
        assert all(item is items[item[0]] for item in seen)
        assert most <= waiting


def test_a_batch_takes_what_memory_allows(small):
    model = Model("small", "swwae-all", None, small[1])
    usual = model.batch_size((3, CROP, CROP))
    assert usual == LARGEST_BATCH
    net = model._net
    values = (
        sum(blob.count for blob in net.blobs.values()) // net.blobs["data"].shape[0]
    )
    side = int(CROP * (BATCH_BYTES / (4 * values) / 10) ** 0.5)
    assert 9 <= model.batch_size((3, side, side)) <= 11
    assert model.batch_size((3, 100 * side, 100 * side)) == 1


# --- which images


def test_the_draw_is_fixed_and_without_repetition():
    places = selected(1000, 50)
    assert places == selected(1000, 50, seed=0)
    assert places == sorted(set(places))
    assert len(places) == 50
    assert min(places) >= 0
    assert max(places) < 1000
    # what it drew when it was written: whatever is changed, it is to stay so
    assert selected(1000, 5) == [11, 269, 850, 855, 921]
    others = [selected(1000, 50, seed) for seed in range(1, 20)]
    assert all(other != places for other in others)
    assert all(set(selected(1000, n)) <= set(selected(1000, 500)) for n in (1, 499))


def test_the_draw_prefers_no_place():
    counts = np.zeros(20)
    for seed in range(2000):
        counts[selected(20, 5, seed)] += 1
    assert counts.sum() == 10000
    assert ((counts - 500) ** 2 / 500).sum() < 60  # chi-square, 19 degrees: p < 5e-6


def test_all_are_taken_where_there_are_fewer():
    assert list(selected(7, 50000)) == list(range(7))
    assert list(selected(7)) == list(range(7))
    assert list(selected(7, limit=3)) == [0, 1, 2]
    assert list(selected(1000, 50, limit=3)) == list(selected(1000, 50))[:3]


def test_only_what_was_drawn_is_read(small):
    model = Model("small", "swwae-all", None, small[1])
    images = model.images("train")
    places = selected(len(images), 9)
    every = [(images.preprocessing.framed(image), label) for image, label in images]
    keys = images.keys(places)
    with closing(prepared(images, keys, processes=2)) as reading:
        found = list(reading)
    assert len(found) == 9
    for (image, label), place in zip(found, places, strict=True):
        assert label == every[place][1]
        assert (image == every[place][0]).all()
    assert evaluate(model, images, places)["images"] == 9


def test_many_chunks_come_in_their_order(small):
    images = Model("small", "swwae-all", None, small[1]).images("val")
    keys = images.keys(range(53)) * 7
    labels = [label for _, label in images]
    with closing(prepared(images, keys, processes=2)) as reading:
        assert [label for _, label in reading] == labels * 7


# --- the command


def test_a_network_without_deploy_conv_is_a_sentence(small, tmp_path, monkeypatch):
    folder, weights = small
    own = tmp_path / "models/small/swwae-all"
    own.mkdir(parents=True)
    source = folder / "models/small/swwae-all"
    for name in ("deploy.prototxt", "train_val.prototxt"):
        (own / name).write_bytes((source / name).read_bytes())
    manifest = "models/small/network.json"
    (tmp_path / manifest).write_bytes((folder / manifest).read_bytes())
    monkeypatch.setattr(project, "ROOT", tmp_path)
    with pytest.raises(
        UserError, match=r"deploy_conv.prototxt is missing: run .*-m ge"
    ):
        FullyConvolutional("small", "swwae-all", None, weights)


def test_weights_of_another_network_are_a_sentence(small, tmp_path):
    net = load_weights(small[1])
    layer = next(la for la in net.layer if la.name == "fc3")
    layer.blobs[0].shape.dim[:] = (24, 200)
    del layer.blobs[0].data[24 * 200 :]
    path = tmp_path / "other.caffemodel"
    save_weights(net, path)
    with pytest.raises(UserError, match=r"other.caffemodel: layer fc3 has the shape"):
        FullyConvolutional("small", "swwae-all", None, path)
    with pytest.raises(UserError, match="another network's weights"):
        Model("small", "swwae-all", None, path)
    net.layer.remove(layer)
    save_weights(net, path)
    with pytest.raises(UserError, match="no layer fc3"):
        FullyConvolutional("small", "swwae-all", None, path)


def test_labels_out_of_range_are_a_sentence(small, tmp_path):
    model = FullyConvolutional("small", "swwae-all", None, small[1])
    picture = photograph("chelsea.png")
    for label in (CLASSES, -2):
        path = write_lmdb(tmp_path / str(label), [raw(picture, 3), raw(picture, label)])
        images = database.Database(path, model.images("val").preprocessing)
        with pytest.raises(UserError, match=f"label {label}, the network 20 classes"):
            evaluate(model, images)


def test_a_damaged_image_is_a_sentence(small, tmp_path):
    model = Model("small", "swwae-all", None, small[1])
    good = jpeg(photograph("chelsea.png"))
    path = write_lmdb(tmp_path / "lmdb", [encoded(good), encoded(b"no JPEG")])
    images = database.Database(path, model.images("val").preprocessing)
    with pytest.raises(UserError, match="entry 00000001 is not a readable Datum"):
        evaluate(model, images)
    empty = database.Database(write_lmdb(tmp_path / "none", []), images.preprocessing)
    with pytest.raises(UserError, match="holds no images"):
        evaluate(model, empty)


def test_a_killed_reader_is_a_sentence(small, monkeypatch):
    """As where memory runs out: the process is gone without a word."""
    model = Model("small", "swwae-all", None, small[1])
    images = model.images("val")
    monkeypatch.setattr(type(images), "read", lambda *arguments: os._exit(9))
    with pytest.raises(UserError, match="was killed; is there memory enough"):
        evaluate(model, images)
