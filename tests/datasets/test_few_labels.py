"""Databases of which few images have labels, and that the loss leaves out the rest."""

import json
import os
import subprocess
from collections import Counter
from dataclasses import replace

import caffe
import lmdb
import numpy as np
import pytest

from generator.derived import with_few_labels
from generator.errors import UserError
from generator.files import render
from generator.networks import VGG8
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from swwae.datasets import few_labels
from swwae.datasets.datum import Datum
from swwae.nets.building import initial
from swwae.nets.data_layers import batch_size
from swwae.nets.network import read as read_network

PROGRAM = ROOT / "data/few_labels.py"
IMAGES, CLASSES = 200, 10
FIRST = [93, 61, 176]
"""The first of ten images that seed 1 draws of 200, ten classes in turn."""


def write(path, labels):
    rng = np.random.Generator(np.random.PCG64(3))
    environment = lmdb.open(str(path), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for index, label in enumerate(labels):
            pixels = rng.integers(0, 256, (1, 32, 32), np.uint8)
            pixels[0, 0, :2] = divmod(index, 256)  # tells which image it is
            datum = Datum(channels=1, height=32, width=32, label=label)
            datum.data = pixels.tobytes()
            transaction.put(b"%08d" % index, datum.SerializeToString())
    environment.close()


def read(path):
    """(place among the training images, label) of every record."""
    environment = lmdb.open(str(path), readonly=True, lock=False)
    with environment, environment.begin() as transaction:
        values = list(transaction.cursor().iternext(keys=False))
    data = [Datum.FromString(value) for value in values]
    return [(256 * each.data[0] + each.data[1], each.label) for each in data]


@pytest.fixture
def folder(tmp_path):
    labels = [(7 * i) % CLASSES for i in range(IMAGES)]
    write(tmp_path / "train_lmdb", labels)
    return tmp_path


def run(folder, *arguments, code=0):
    command = [PROGRAM, "--data", folder, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_labels_are_drawn_of_every_class(folder):
    run(folder, "--labels", 43, "--seed", 5)
    drawn = read(folder / "labelled43_seed5_lmdb")
    assert len({place for place, _ in drawn}) == 43
    assert all(label == (7 * place) % CLASSES for place, label in drawn)
    counts = Counter(label for _, label in drawn)
    assert sorted(counts.values()) == [4] * 7 + [5] * 3
    labels = [label for _, label in drawn]
    assert labels != sorted(labels)  # a batch holds all classes


def test_the_others_are_all_images_in_their_order(folder):
    run(folder, "--labels", 10)
    assert read(folder / "unlabelled_lmdb") == [(i, -1) for i in range(IMAGES)]


def test_a_seed_draws_the_same_and_another_seed_others(folder):
    labels = np.arange(IMAGES) % CLASSES
    assert few_labels.draw(labels, 20, 1) == few_labels.draw(labels, 20, 1)
    assert set(few_labels.draw(labels, 20, 1)) != set(few_labels.draw(labels, 20, 2))
    # the order of NumPy's raw stream: the same on every machine
    assert few_labels.draw(labels, 10, 1)[:3] == FIRST


def test_what_is_there_stays_and_is_told_from_what_is_not(folder):
    run(folder, "--labels", 10)
    before = (folder / "unlabelled_lmdb/data.mdb").stat().st_mtime_ns
    said = run(folder, "--labels", 10)
    assert said.count("is there already") == 2
    assert (folder / "unlabelled_lmdb/data.mdb").stat().st_mtime_ns == before
    info = folder / "unlabelled_lmdb/info.json"
    content = json.loads(info.read_text())
    content["made_from"]["images"] = 7
    info.write_text(json.dumps(content))
    assert "--force makes it anew" in run(folder, "--labels", 10, code=2)
    run(folder, "--labels", 10, "--force")
    assert len(read(folder / "unlabelled_lmdb")) == IMAGES
    assert not list(folder.glob("*.partial"))


def test_the_library_says_what_it_has_made(folder):
    (labelled, info), (unlabelled, others) = few_labels.create(folder, 20, seed=1)
    assert labelled == folder / "labelled20_seed1_lmdb" and info["images"] == 20
    assert unlabelled == folder / "unlabelled_lmdb" and others["images"] == IMAGES
    assert info == json.loads((labelled / "info.json").read_text())
    assert info["made_from"] == others["made_from"] and info["seed"] == 1
    again = few_labels.create(folder, 20, seed=1)
    assert again == [(labelled, None), (unlabelled, None)]


@pytest.mark.parametrize(
    ("labels", "said"),
    [(9, "each wants one"), (201, "class 9 has 20 images, 21 are wanted")],
)
def test_impossible_numbers(folder, labels, said):
    assert said in run(folder, "--labels", labels, code=2)
    assert [path.name for path in folder.iterdir()] == ["train_lmdb"]


def test_the_same_images_in_another_order_are_others(folder):
    run(folder, "--labels", 10)
    environment = lmdb.open(str(folder / "train_lmdb"), map_size=1 << 24)
    with environment, environment.begin(write=True) as transaction:
        keys = [b"%08d" % index for index in range(IMAGES)]
        values = [transaction.get(key) for key in keys]
        for key, value in zip(keys, values[::-1], strict=True):
            transaction.put(key, value)
    assert "--force makes it anew" in run(folder, "--labels", 10, code=2)


def test_a_damaged_database_is_named(folder):
    data = folder / "train_lmdb/data.mdb"
    data.write_bytes(data.read_bytes()[:8192] + b"\xff" * (data.stat().st_size - 8192))
    assert "is damaged" in run(folder, "--labels", 10, code=2)


def test_no_training_images(tmp_path):
    assert "give --data DIR" in run(tmp_path, "--labels", 10, code=2)


def test_images_without_labels_are_no_training_images(tmp_path):
    write(tmp_path / "train_lmdb", [0, -1])
    with pytest.raises(UserError, match="found a label -1"):
        few_labels.read(tmp_path / "train_lmdb")


@pytest.fixture
def network(folder):
    """swwae-all with 20 labels, in training, and its first batch."""
    run(folder, "--labels", 20)
    os.symlink(folder / "train_lmdb", folder / "test_lmdb")
    data = replace(VGG8.data, folder=str(folder))
    few = with_few_labels(replace(VGG8, data=data), 20, 1)
    texts = render([plan(few, VARIANTS["swwae-all"])])
    path = folder / "train_val.prototxt"
    path.write_text(texts["models/vgg8/swwae-all/train_val.prototxt"])
    caffe.set_random_seed(1)
    caffe.set_mode_cpu()
    net = caffe.Net(str(path), caffe.TRAIN)
    net.forward()
    net.backward()
    return net


def test_the_loss_is_of_the_images_with_labels_alone(network):
    labels = network.blobs["label"].data.astype(int)
    assert (labels[:32] >= 0).all() and (labels[32:] == -1).all()
    scores = network.blobs["fc5"].data[:32].astype(float)
    log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -log[np.arange(32), labels[:32]].mean()
    assert float(network.blobs["loss"].data) == pytest.approx(expected, rel=1e-5)
    assert (network.blobs["fc5"].diff[32:] == 0).all()
    assert (network.blobs["fc5"].diff[:32] != 0).any()


def test_the_batch_is_that_of_both(folder, network):
    assert batch_size(read_network(folder / "train_val.prototxt")) == 64


def test_all_images_are_reconstructed(network):
    target, copy = (network.blobs[b].data for b in ("data/scaled", "dec:data"))
    assert len(target) == 64
    expected = np.square(copy - target, dtype=float).sum() / (2 * 64)
    loss = float(network.blobs["dec:loss@data/scaled"].data)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (network.blobs["dec:data"].diff[32:] != 0).any()


def test_weights_can_be_made_without_reading_the_images(folder):
    """Stage 1 of a network whose batches come from two databases."""
    few = with_few_labels(VGG8, 20, 1)
    path = folder / "train_val.prototxt"
    texts = render([plan(few, VARIANTS["sae-all"])])
    path.write_text(texts["models/vgg8/sae-all/train_val.prototxt"])
    made = initial(path, 1, (1, 1, 32, 32), "data", folder)
    shapes = {la.name: la.blobs[0].shape.dim[:] for la in made.layer if la.blobs}
    assert shapes["conv1_1"] == [16, 1, 3, 3] and shapes["dec:conv1_1"] == [16, 1, 3, 3]
