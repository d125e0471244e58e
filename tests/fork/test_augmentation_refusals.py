"""Fields that contradict and datums that don't fit end in a sentence."""

import io
import subprocess

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from tests.helpers.augmentation import (
    PHOTOGRAPHS,
    SINGLE_CROP,
    data_layer,
    encoded,
    in_child,
    outputs,
    photograph_datum,
)
from tests.helpers.photographs import encoded as encoded_datum
from tests.helpers.photographs import photograph, write_lmdb


def float_datum() -> caffe_pb2.Datum:
    return caffe_pb2.Datum(channels=3, height=8, width=8, float_data=[0.5] * 192)


def grey_datum() -> caffe_pb2.Datum:
    grey = photograph(PHOTOGRAPHS[0]).convert("L")
    return encoded_datum(encoded(grey, "jpeg"))


SETUP, FIRST_BATCH = 0, 1


@pytest.mark.parametrize(
    ("transform", "when", "sentence"),
    [
        (
            "shorter_edge_max: 512 crop_size: 224",
            SETUP,
            "shorter_edge_max 512 needs a shorter_edge",
        ),
        (
            "shorter_edge: 256 shorter_edge_max: 255",
            SETUP,
            "shorter_edge_max 255 is below shorter_edge 256.",
        ),
        (
            "shorter_edge: 256 crop_size: 257",
            SETUP,
            "crop_size 257 does not fit into images whose shorter edge is"
            " shorter_edge 256.",
        ),
        (
            'shorter_edge: 256 mean_file: "mean.binaryproto"',
            SETUP,
            "with shorter_edge or center_square give mean_value.",
        ),
        ("shorter_edge: 4000000000", SETUP, "at most 32768 pixels"),
        (
            "crop_size: 500",
            SETUP,
            "An image of 400 x 600 pixels (height x width) is smaller than crop_size"
            " 500; with shorter_edge: 500 in transform_param it would be resized.",
        ),
        (
            "shorter_edge: 256",
            FIRST_BATCH,
            "Image 1 of the batch is 256 x 385 (height x width) and the batch takes"
            " 256 x 384; whole images of several shapes need batch_size: 1,",
        ),
    ],
)
def test_fields_that_contradict_are_refused(
    databases, tmp_path, transform, when, sentence
):
    layer = data_layer(databases["jpeg"], transform, batch=2)
    assert_refused(in_child(tmp_path, layer, batches=when, phase=caffe.TEST), sentence)


def deep_png() -> bytes:
    """A grey ramp with 16 bits a pixel."""
    picture = Image.fromarray(np.arange(300 * 300, dtype=np.uint16).reshape(300, 300))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("datums", "when", "sentence"),
    [
        ([float_datum()], FIRST_BATCH, "this Datum holds floats (float_data)."),
        (
            [photograph_datum(PHOTOGRAPHS[0], "jpeg"), grey_datum()],
            FIRST_BATCH,
            "Image 1 of the batch has 1 channels, and the network's data 3;"
            " force_color: true in transform_param decodes every image as color",
        ),
        (
            [encoded_datum(b"no image")],
            SETUP,
            "its 8 bytes are no image that OpenCV can decode",
        ),
        (
            [encoded_datum(b"")],
            SETUP,
            "its 0 bytes are no image that OpenCV can decode",
        ),
        (
            [caffe_pb2.Datum(data=b"123", channels=1, height=2, width=2)],
            SETUP,
            "has 1 x 2 x 2 (channels x height x width) pixels, but 3 values.",
        ),
        (
            [
                caffe_pb2.Datum(
                    data=bytes(60000), channels=1, height=1, width=60000, label=3
                )
            ],
            SETUP,
            "An image of 1 x 60000 pixels (height x width) would become too large with"
            " a shorter edge of 256;",
        ),
        (
            [encoded_datum(deep_png())],
            SETUP,
            "is an image of more than 8 bits a channel; force_color: true",
        ),
    ],
)
def test_datums_that_do_not_fit_are_refused(tmp_path, datums, when, sentence):
    source = write_lmdb(tmp_path / "lmdb", datums)
    layer = data_layer(source, SINGLE_CROP, batch=len(datums))
    assert_refused(in_child(tmp_path, layer, batches=when, phase=caffe.TEST), sentence)


def test_force_color_takes_grey_images(tmp_path):
    datums = [photograph_datum(PHOTOGRAPHS[0], "jpeg"), grey_datum()]
    source = write_lmdb(tmp_path / "lmdb", datums)
    layer = data_layer(source, f"{SINGLE_CROP} force_color: true", batch=2)
    colour, grey = outputs(layer, phase=caffe.TEST)
    assert (grey[0] == grey[1]).all() and (grey[1] == grey[2]).all()
    assert (colour[0] != colour[1]).any()


def assert_refused(done: subprocess.CompletedProcess, sentence: str) -> None:
    assert done.returncode == -6 and sentence in done.stderr, done.stderr[-2000:]
