"""The shape of an encoded picture of a database, with and without OpenCV."""

import sys

import cv2
import numpy as np
import pytest

from generator import source

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
