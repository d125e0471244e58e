"""Which JPEG a database holds of each image, and what becomes of unfit ones."""

import io
import os
import subprocess

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from swwae.base.project import CAFFE
from swwae.datasets import jpegs
from tests.helpers.ilsvrc12 import (
    FORMS,
    MAX_SIDE,
    WNIDS,
    bad_files,
    encoded,
    image,
    label_of,
    opened,
    photograph,
    photograph_size,
    pixels,
    read_back,
    skipped,
    training_set,
    write_source,
    write_tree,
)

CONVERT = CAFFE.with_name("convert_imageset")


@pytest.mark.parametrize("size", [(200, 150), (97, 310), (130, 130), (1000, 750)])
def test_shrinks_to_the_shorter_edge_as_a_slow_resize_does(size):
    content = image(1, size)
    jpeg = jpegs.stored(content, "a.jpg", MAX_SIDE, 95)
    scale = MAX_SIDE / min(size)
    expected = tuple(round(length * scale) for length in size)
    assert jpeg.changes == (jpegs.SHRUNK,)
    assert photograph_size(jpeg.content) == expected
    with Image.open(io.BytesIO(content)) as picture:
        slow = np.asarray(picture.resize(expected, Image.Resampling.LANCZOS))
    assert np.abs(pixels(jpeg.content) - slow).mean() < 5
    mean = pixels(jpeg.content).mean(axis=(0, 1))[::-1]
    np.testing.assert_allclose(jpeg.mean, mean, atol=0.5)


def test_values_are_those_of_convert_imageset(create, tmp_path):
    files = training_set()
    folder = write_tree(tmp_path / "images", files)
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{name} {label_of(name)}\n" for name in files))
    subprocess.run(
        [CONVERT, "--encoded", f"{folder}/", listed, tmp_path / "caffes"], check=True
    )
    create("--train", listed, "--root", folder, "--max-side", 0)
    values = []
    for path in (tmp_path / "caffes", tmp_path / "out" / "train_lmdb"):
        with opened(path) as transaction:
            values.append(sorted(value for _, value in transaction.cursor()))
    assert values[0] == values[1]


def test_caffe_reads_it(create, tmp_path):
    files = training_set()
    files[f"{WNIDS[0]}/grey.JPEG"] = encoded(photograph(5, (80, 60), "L"))
    source = write_source(tmp_path / "source", "tar of tars", files)
    create("--train", source, "--max-side", MAX_SIDE)
    database = tmp_path / "out" / "train_lmdb"
    records = read_back(database)
    network = tmp_path / "net.prototxt"
    network.write_text(
        f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
        data_param {{ source: "{database}" backend: LMDB batch_size: 1 }}
        transform_param {{ force_color: true }} }}"""
    )
    net = caffe.Net(str(network), caffe.TEST)
    for content, label in records:
        blobs = net.forward()
        assert blobs["label"] == label
        shown = blobs["data"][0].transpose(1, 2, 0)[..., ::-1]
        assert shown.shape == pixels(content).shape
        # Decoders of different versions round differently.
        assert np.abs(shown - pixels(content)).mean() < 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(80, 60), (200, 150)])
def test_orientation_is_the_same_to_all_readers(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = image(2, size, exif=exif.tobytes())
    jpeg = jpegs.stored(content, "a.JPG", MAX_SIDE, 95)
    assert (jpegs.TURNED in jpeg.changes) == (orientation != 1)
    plain = jpegs.stored(image(2, size), "a.JPG", MAX_SIDE, 95)
    np.testing.assert_array_equal(pixels(jpeg.content), pixels(plain.content))
    if orientation == 1 and size == (80, 60):
        assert jpeg.content == content
    datum = caffe_pb2.Datum(data=jpeg.content, label=0, encoded=True)
    with opened(tmp_path, write=True) as transaction:
        transaction.put(b"00000000", datum.SerializeToString())
    network = tmp_path / "net.prototxt"
    network.write_text(
        f"""layer {{ name: "data" type: "Data" top: "data"
        data_param {{ source: "{tmp_path}" backend: LMDB batch_size: 1 }}
        transform_param {{ force_color: true }} }}"""
    )
    net = caffe.Net(str(network), caffe.TEST)
    shown = net.forward()["data"][0][::-1].transpose(1, 2, 0)
    assert shown.shape == pixels(plain.content).shape
    assert np.abs(shown - pixels(plain.content)).mean() < 1


def test_a_segment_after_fill_bytes_is_found(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = image(2, exif=exif.tobytes())
    place = content.index(b"\xff\xe1")
    filled = content[:place] + b"\xff\xff" + content[place:]
    assert b"Exif" not in jpegs.stored(filled, "a.jpg", 0, 95).content


@pytest.mark.parametrize("stray", [b"\0", b"\0\0", b"stray"])
def test_an_orientation_behind_stray_bytes_is_gone(stray):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = image(2, exif=exif.tobytes())
    place = content.index(b"\xff\xe1")
    hidden = content[:place] + stray + content[place:]
    jpeg = jpegs.stored(hidden, "a.jpg", 0, 95)
    assert jpeg.changes == (jpegs.TURNED,)
    assert jpegs.mean_of(jpeg.content)[0] == (80, 60)  # it refuses what is turned


@pytest.mark.parametrize("form", FORMS)
def test_unfit_files_are_skipped_and_listed(create, tmp_path, form):
    files, bad = training_set(), bad_files()
    wnid = WNIDS[2]
    contents = {f"{wnid}/{name}": content for name, (content, _) in bad.items()}
    grey = {f"{wnid}/grey.JPEG": encoded(photograph(6, mode="L"))}
    png = {f"{wnid}/fine.png": encoded(photograph(7, mode="RGBA"), "PNG")}
    source = write_source(tmp_path / "s", form, files | contents | grey | png)
    said = create("--train", source, "--max-side", MAX_SIDE, jobs=2)
    assert f"{len(bad)} files skipped" in said and "train_skipped.txt" in said
    assert "1 grey made colour" in said and "1 PNG made JPEG" in said

    listed = skipped(tmp_path / "out")
    assert set(listed) == set(contents)
    for name, (_, words) in bad.items():
        assert words in listed[f"{wnid}/{name}"], name
    records = read_back(tmp_path / "out" / "train_lmdb")
    assert len(records) == len(files) + 2
    for content, _ in records:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "JPEG" and picture.mode == "RGB"
    create("--check")

    error = create("--train", source, "--out", tmp_path / "o2", "--strict", expect=2)
    assert "--strict" in error
    assert [each.name for each in (tmp_path / "o2").iterdir()] in (
        [],
        ["train_lmdb.partial"],
    )
    assert "lacks" in create(
        "--train", source, "--max-side", MAX_SIDE, "--strict", expect=2
    )


def test_strict_ends_at_a_file_that_cannot_be_decoded(create, tmp_path):
    files = training_set()
    bad = f"{WNIDS[1]}/half.JPEG"
    source = write_source(
        tmp_path / "s", "class folders", files | {bad: image(1)[:-500]}
    )
    error = create("--train", source, "--strict", expect=2)
    assert bad in error and "truncated" in error
    assert os.listdir(tmp_path / "out") == ["train_lmdb.partial"]
    create("--train", source)  # goes on, and skips it
    assert list(skipped(tmp_path / "out")) == [bad]
    assert len(read_back(tmp_path / "out" / "train_lmdb")) == len(files)
