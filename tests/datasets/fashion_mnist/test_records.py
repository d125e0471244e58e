"""The databases, read back by hand, hold what the IDX files held."""

import gzip
import json
from collections import Counter

import caffe
import numpy as np
import pytest

from tests.helpers.fashion_mnist import PREFIXES, read_back, write_set


def pad_slowly(image, side):
    """`image` (height × width) centred among zeros, pixel by pixel, as bytes."""
    height, width = image.shape
    top, left = (side - height) // 2, (side - width) // 2
    padded = bytearray(side * side)
    for row in range(height):
        for column in range(width):
            padded[(row + top) * side + column + left] = image[row, column]
    return bytes(padded)


@pytest.mark.parametrize("side", [5, 8, 11])
def test_records_are_the_padded_images_in_another_order(create, tmp_path, out, side):
    sets = write_set(tmp_path / "idx")
    create("--source", tmp_path / "idx", "--out", out, "--pad-to", side)
    assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}
    for split, (images, labels) in sets.items():
        records = read_back(out / f"{split}_lmdb")
        assert [record[0] for record in records] == [
            f"{index:08d}".encode() for index in range(len(images))
        ]
        assert all(record[1:4] == (1, side, side) for record in records)
        found = [(pixels, label) for *_, pixels, label in records]
        given = [
            (pad_slowly(image, side), int(label))
            for image, label in zip(images, labels)
        ]
        assert found != given
        assert Counter(found) == Counter(given)


def test_info_says_what_is_inside(create, tmp_path, source, out):
    sets = write_set(source)
    said = create("--source", source, "--out", out, "--seed", 3, "--pad-to", 7)
    for split, (images, labels) in sets.items():
        info = json.loads((out / f"{split}_lmdb" / "info.json").read_text())
        assert info["images"] == len(images) and info["shape"] == [1, 7, 7]
        assert info["images_per_label"] == [
            labels.tolist().count(label) for label in range(10)
        ]
        total = sum(int(pixel) for pixel in images.ravel())
        assert info["mean"] == pytest.approx([total / (len(images) * 49)], rel=1e-12)
        assert info["seed"] == 3 and info["padded_to"] == 7
        assert info["sources"] == [
            f"{PREFIXES[split]}-images-idx3-ubyte",
            f"{PREFIXES[split]}-labels-idx1-ubyte",
        ]
    mean = sum(map(int, sets["train"][0].ravel())) / (37 * 49)
    assert f"{mean:.4f}" in said
    assert "37 images, 1 × 7 × 7 (channels × height × width), 10 classes" in said


def test_same_seed_same_bytes_other_seed_other_order(create, tmp_path, source):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        create("--source", source, "--out", tmp_path / name, "--seed", seed)
    for split in ("train_lmdb", "test_lmdb"):
        a, b, c = (read_back(tmp_path / name / split) for name in "abc")
        assert a == b
        assert a != c and sorted(r[4:] for r in a) == sorted(r[4:] for r in c)
        info_a, info_b = (
            (tmp_path / name / split / "info.json").read_bytes() for name in "ab"
        )
        assert info_a == info_b


def test_the_order_is_the_raw_stream_of_pcg64(create, source, tmp_path, out):
    images, _ = write_set(source)["train"]
    create("--source", source, "--out", out, "--seed", 11, "--pad-to", 5)
    keys = np.random.PCG64(11).random_raw(len(images)).tolist()
    order = sorted(range(len(images)), key=keys.__getitem__)
    assert [record[4] for record in read_back(out / "train_lmdb")] == [
        pad_slowly(images[index], 5) for index in order
    ]


def test_gzipped_files_give_the_same_records(create, tmp_path, source):
    write_set(tmp_path / "gz", pack=gzip.compress, suffix=".gz")
    create("--source", source, "--out", tmp_path / "a")
    create("--source", tmp_path / "gz", "--out", tmp_path / "b")
    for split in ("train_lmdb", "test_lmdb"):
        assert read_back(tmp_path / "a" / split) == read_back(tmp_path / "b" / split)
    # Known by content: what was made from the ones is what the others ask for.
    assert "nothing to do" in create(
        "--source", tmp_path / "gz", "--out", tmp_path / "a"
    )


def test_caffe_reads_the_database_in_its_order(create, source, out):
    create("--source", source, "--out", out, "--pad-to", 6)
    records = read_back(out / "train_lmdb")
    description = out / "net.prototxt"
    description.write_text(
        'layer { name: "data" type: "Data" top: "data" top: "label"\n'
        f'  data_param {{ source: "{out / "train_lmdb"}" backend: LMDB\n'
        "    batch_size: 37 } }\n"
    )
    net = caffe.Net(str(description), caffe.TEST)
    net.forward()
    assert net.blobs["data"].data.shape == (37, 1, 6, 6)
    for index, (*_, pixels, label) in enumerate(records):
        assert net.blobs["data"].data[index].ravel().tolist() == list(pixels)
        assert net.blobs["label"].data[index] == label
