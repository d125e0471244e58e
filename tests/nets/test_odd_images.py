"""Data that are nearly images, and pictures that are more than their header says."""

import io
import math

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from generator import data_kinds, source
from generator.errors import UserError
from generator.layers import Layer
from generator.picture_headers import read_header
from generator.survey import Kind
from swwae.images.pictures import decoded
from swwae.nets import databases
from swwae.stages import sources


def data_layer(**transform):
    return Layer(
        "data",
        "Data",
        [],
        ["data"],
        fields={"transform_param": transform, "data_param": {"batch_size": 2}},
    )


def kind(least, most):
    return Kind("bytes", 1, 8, least, most, 2, "00000000")


def header(content: bytes):
    return read_header(len(content), lambda at, size: content[at : at + size])


@pytest.mark.parametrize("shape", [(1, 0, 0), (0, 4, 4), (1, 0, 4), None])
def test_an_image_without_pixels_has_no_shape(shape):
    assert source.transformed(data_layer(shorter_edge=8), shape) is None
    assert source.transformed(data_layer(), shape) is None


def test_images_without_pixels_have_no_size():
    assert data_kinds.size(data_layer(), [kind((0, 4), (0, 4))]) is None


@pytest.mark.parametrize("scale", [math.inf, math.nan, 0.0, -1.0])
def test_a_scale_that_is_no_factor_leaves_the_pixels(scale):
    assert source.pixel_scale(data_layer(scale=scale)) == 1.0


def transparent(mode: str) -> bytes:
    image = Image.new(mode, (7, 9))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0 if mode == "P" else (0, 0, 0))
    return file.getvalue()


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_a_png_of_which_colours_are_transparent_has_four_channels(mode):
    content = transparent(mode)
    assert header(content) == (4, 9, 7, 8)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (9, 7, 4)
    assert header(content[:40]) == (3, 9, 7, 8)  # it ends before that is said


def test_a_jpeg_that_goes_on_behind_its_end_is_not_read_there():
    content = b"\xff\xd8\xff\xe0\xff\xff" + bytes(100)

    def read(at, size):
        assert 0 <= at < len(content)
        return content[at : at + size]

    assert read_header(len(content), read) is None


@pytest.mark.parametrize(
    ("transform", "least", "most", "several"),
    [
        ({"shorter_edge": 32}, (40, 60), (60, 90), False),  # of one shape
        ({"shorter_edge": 32}, (40, 60), (40, 80), True),
        ({"center_square": True}, (40, 60), (50, 60), True),
        ({"center_square": True, "shorter_edge": 32}, (40, 60), (50, 60), False),
        ({"crop_size": 32, "shorter_edge": 32}, (40, 60), (40, 80), False),
    ],
)
def test_several_sizes_are_what_resizing_leaves_of_them(
    transform, least, most, several
):
    layer = data_layer(**transform)
    said = list(data_kinds.faults(layer, [kind(least, most)], 1, "DB", "NET"))
    assert len(said) == several
    assert all("holds images of several sizes" in sentence for sentence in said)


def test_squares_have_the_size_of_their_edge():
    layer = data_layer(center_square=True, shorter_edge=32)
    assert data_kinds.size(layer, [kind((40, 60), (50, 60))]) == (32, 32)


def test_a_data_layer_without_a_source_is_refused(tmp_path):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="data", type="Data", top=["data"])
    assert databases.lmdb_of(Layer("data", "Data", [], ["data"])) is None
    with pytest.raises(UserError, match="names no source: write data_param"):
        sources.require_databases(net, tmp_path / "train_val.prototxt")


@pytest.mark.parametrize("forced", [None, 3])
def test_a_picture_of_no_bytes_is_no_picture(forced):
    with pytest.raises((ValueError, OSError)):
        decoded(b"", 3, forced)
