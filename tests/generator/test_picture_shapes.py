"""The shape of an encoded picture of a database, with and without OpenCV."""

import sys

import cv2
import numpy as np
import pytest

from generator import source
from generator.layers import Layer

PIXELS = {
    "grey": np.arange(63, dtype=np.uint8).reshape(9, 7),
    "colour": np.arange(189, dtype=np.uint8).reshape(9, 7, 3),
    "16 bits": np.arange(63, dtype=np.uint16).reshape(9, 7),
}


CODED = [(kind, ".png") for kind in PIXELS] + [("grey", ".jpg"), ("colour", ".jpg")]


@pytest.mark.parametrize("force", [None, "force_color", "force_gray"])
@pytest.mark.parametrize(("kind", "suffix"), CODED)
def test_the_header_tells_what_opencv_decodes(kind, force, suffix, monkeypatch):
    content = cv2.imencode(suffix, PIXELS[kind])[1].tobytes()
    transform = {force: True} if force else {}
    channels = {None: 3 if kind == "colour" else 1, "force_gray": 1}.get(force, 3)
    assert source._decoded_shape(content, transform) == (channels, 9, 7)
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it raises ImportError
    assert source._decoded_shape(content, transform) == (channels, 9, 7)


@pytest.mark.parametrize("without", [False, True])
def test_what_is_no_picture_has_no_shape(without, monkeypatch):
    if without:
        monkeypatch.setitem(sys.modules, "cv2", None)
    assert source._decoded_shape(b"no picture", {}) is None


@pytest.mark.parametrize("name", ["a\0.png", "none.png", "broken.png"])
def test_a_list_whose_first_picture_cannot_be_read_tells_no_shape(name, tmp_path):
    content = cv2.imencode(".png", PIXELS["colour"])[1].tobytes()
    (tmp_path / "broken.png").write_bytes(content.replace(b"IHDR", b"IHDX"))
    (tmp_path / "list.txt").write_text(f"{name} 0\n")
    fields = {"source": str(tmp_path / "list.txt"), "root_folder": f"{tmp_path}/"}
    layer = Layer("d", "ImageData", (), ("data",), {"image_data_param": fields})
    assert source.image_shape(layer) is None
