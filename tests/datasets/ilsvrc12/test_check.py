"""What --check finds in a database."""

import json

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from tests.helpers.ilsvrc12 import (
    MAX_SIDE,
    encoded,
    image,
    opened,
    photograph,
    pixels,
    read_back,
    training_set,
    write_source,
)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda datum: datum.ClearField("encoded"), "not marked as encoded"),
        (lambda datum: setattr(datum, "label", datum.label ^ 1), "images_per_label"),
        (lambda datum: setattr(datum, "data", datum.data[:-400]), "truncated"),
        (lambda datum: setattr(datum, "data", image(99)), "records_sha256"),
        (lambda datum: setattr(datum, "data", image(99, (150, 99))), "150 × 99"),
        (
            lambda datum: setattr(datum, "data", encoded(photograph(1, mode="L"))),
            "no colour JPEG",
        ),
    ],
)
def test_check_names_what_is_wrong(create, tmp_path, damage, words):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source, "--max-side", MAX_SIDE)
    database = tmp_path / "out" / "train_lmdb"
    assert "Every record was decoded" in create("--check", jobs=2)
    with opened(database, write=True) as transaction:
        datum = caffe_pb2.Datum.FromString(transaction.get(b"00000004"))
        damage(datum)
        transaction.put(b"00000004", datum.SerializeToString())
    info = json.loads((database / "info.json").read_text())
    info["bytes"] = (database / "data.mdb").stat().st_size
    (database / "info.json").write_text(json.dumps(info))
    error = create("--check", expect=2)
    assert words in error and str(database) in error


def test_check_misses_no_record_and_no_byte(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source)
    database = tmp_path / "out" / "train_lmdb"
    with opened(database, write=True) as transaction:
        transaction.delete(b"00000004")
    info = json.loads((database / "info.json").read_text())
    info["bytes"] = (database / "data.mdb").stat().st_size
    (database / "info.json").write_text(json.dumps(info))
    assert "11 records, info.json says 12" in create("--check", expect=2)
    with (database / "data.mdb").open("r+b") as file:
        file.truncate(8192)
    assert "expected" in create("--check", expect=2)


def test_mean_is_that_of_the_images(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    said = create("--train", source, "--max-side", MAX_SIDE)
    records = read_back(tmp_path / "out" / "train_lmdb")
    means = [pixels(content).mean(axis=(0, 1))[::-1] for content, _ in records]
    info = json.loads((tmp_path / "out/train_lmdb/info.json").read_text())
    np.testing.assert_allclose(info["mean"], np.mean(means, axis=0), atol=0.3)
    assert f"B {info['mean'][0]:.3f}" in said
    info["mean"][2] += 2
    (tmp_path / "out/train_lmdb/info.json").write_text(json.dumps(info))
    assert "mean is" in create("--check", expect=2)


def test_check_takes_what_the_worst_quality_makes(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source, "--max-side", 40, "--quality", 1)
    assert "Every record was decoded" in create("--check")
