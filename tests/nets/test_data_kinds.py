"""Images of another kind than a network was generated for, before a stage begins."""

import re

import cv2
import numpy as np
import pytest

from generator import data_labels
from generator.errors import UserError
from generator.networks import NETWORKS
from generator.picture_headers import read_header
from generator.stages import plan
from generator.survey import Kind
from generator.variants import VARIANTS
from swwae.base import project
from swwae.nets import data_kinds, databases, network
from tests.helpers.datum_lmdb import floats, image, picture, write
from tests.helpers.photographs import jpeg, photograph
from tests.helpers.tiny_project import CONV, DEPLOY, FC

DATA = """
layer {{
  name: "data" type: "Data" top: "data" top: "label" transform_param {{ {transform} }}
  data_param {{ source: "{folder}" backend: LMDB batch_size: {batch} }}
}}
"""
NET = CONV.format(lr=1, outputs=4)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """What is said of a network for grey images of 8x8, and of a database."""
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")

    def said(records, transform="", batch=2, layers=NET + FC) -> str | None:
        folder = write(tmp_path / "some_lmdb", records)
        path = tmp_path / "train_val.prototxt"
        data = DATA.format(folder=folder, transform=transform, batch=batch)
        path.write_text(data + layers)
        (tmp_path / "deploy.prototxt").write_text(DEPLOY + layers)
        try:
            data_kinds.check(network.read(path), path)
        except UserError as error:
            assert str(folder) in str(error)
            return str(error)

    return said


def grey(side: int, **fields):
    return image(0, side, **fields)


COLOUR = image(0, 8, channels=3, data=bytes(192))
PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLOURED = picture(0, np.dstack([PIXELS] * 3))
DEEP = picture(0, PIXELS * np.uint16(257))
FLOATS = floats(0, PIXELS[np.newaxis])


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (
            [COLOUR],
            "holds images in colour, and .* reads grey: make it again in grey",
        ),
        ([COLOURED], "write force_gray: true in the transform_param of 'data'"),
        ([grey(8), COLOUR], r"holds an image \(entry 00000001\) in colour, and"),
        ([grey(8), COLOURED], "in colour, .* force_gray: true in the transform_param"),
        ([DEEP], "holds images of 16 bits a channel, .*: write force_gray: true"),
        ([grey(8, data=bytes(128))], "that have 2 bytes for each value"),
        ([grey(8), grey(6)], "of several sizes, 6x6 to 8x8 pixels, .* takes 2 of them"),
        ([grey(6)], "gives images of 1x6x6 .* was generated for 1x8x8: make it again"),
    ],
)
def test_what_is_refused(check, records, words):
    assert re.search(words, check(records) or "")


@pytest.mark.parametrize(
    ("records", "options"),
    [
        ([grey(8), FLOATS, picture(0, PIXELS)], {}),
        ([COLOURED, DEEP], {"transform": "force_gray: true"}),
        ([grey(8), grey(9), grey(12)], {"transform": "crop_size: 8"}),
        ([grey(6), grey(20)], {"transform": "shorter_edge: 9 crop_size: 8"}),
        ([grey(6)], {"layers": NET}),  # convolutions alone take any size
        ([grey(8), grey(6)], {"layers": NET, "batch": 1}),
    ],
)
def test_what_caffe_takes(check, records, options):
    assert check(records, **options) is None


def test_images_smaller_than_their_crop(check):
    assert "down to 6x6 pixels" in check([grey(9), grey(6)], "crop_size: 8")


def test_floats_that_would_be_resized(check):
    said = check([FLOATS], "shorter_edge: 8 crop_size: 8")
    assert "floating-point numbers (float_data), which layer 'data'" in said


def test_kinds_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    records = [
        grey(8),
        COLOURED,
        grey(6),
        FLOATS,
        DEEP,
        grey(7, height=1, data=bytes(7)),
    ]
    folder = write(tmp_path / "kinds_lmdb", records)
    expected = (
        Kind("bytes", 1, 8, (1, 6), (8, 8), 3, "00000000"),
        Kind("picture", 3, 8, (8, 8), (8, 8), 1, "00000001"),
        Kind("floats", 1, 32, (8, 8), (8, 8), 1, "00000003"),
        Kind("picture", 1, 16, (8, 8), (8, 8), 1, "00000004"),
    )
    assert databases.examined(folder).kinds == expected
    monkeypatch.setattr(databases, "survey", None)
    assert databases.examined(folder).kinds == expected


def test_headers_are_as_opencv_decodes():
    wide = np.arange(77, dtype=np.uint16).reshape(7, 11) * 800
    colour = np.dstack([wide] * 3)
    contents = [
        jpeg(photograph("chelsea.png")),
        *(
            cv2.imencode(suffix, values)[1].tobytes()
            for values in (wide, colour, np.dstack([colour, wide]))
            for suffix, values in (
                (".png", values),
                (".png", (values >> 8).astype("u1")),
            )
        ),
        cv2.imencode(".jpg", (wide >> 8).astype("u1"))[1].tobytes(),
    ]
    for content in contents:
        decoded = np.atleast_3d(
            cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        )
        height, width, channels = decoded.shape
        bits = 8 * decoded.dtype.itemsize
        found = read_header(len(content), lambda at, n, c=content: c[at : at + n])
        assert found == (channels, height, width, bits)
        for cut in (10, 40, 200):
            read_header(cut, lambda at, n, c=content[:cut]: c[at : at + n])


def test_the_generator_refuses_colour_under_grey(tmp_path, monkeypatch):
    folder = write(tmp_path / "train_lmdb", [COLOUR])
    planned = plan(NETWORKS["vgg8"], VARIANTS["baseline"], None)
    monkeypatch.setattr(
        "generator.source.lmdb_folder",
        lambda layer: folder if "train" in str(layer.fields) else None,
    )
    with pytest.raises(UserError) as raised:
        data_labels.check_channels([planned])
    assert "train_lmdb holds images in colour, and vgg8 reads grey" in str(raised.value)
