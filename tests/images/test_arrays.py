"""Images as people hand them over, and back."""

import re

import numpy as np
import pytest

from generator.errors import UserError
from swwae.images.arrays import planes, stacked


def none(name):
    raise AssertionError(f"there is no file {name}")


def test_rgb_becomes_blue_green_red_and_back():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    found = planes(rgb, none)
    assert [image.shape for image in found] == [(3, 4, 5)] * 2
    for channel in range(3):
        assert (found[0][channel] == rgb[0, :, :, 2 - channel]).all()
    assert (stacked(found) == rgb).all()


def test_grey_has_one_channel_and_none():
    grey = np.random.default_rng(0).integers(0, 256, (2, 4, 5), dtype=np.uint8)
    found = planes(grey, none)
    assert [image.shape for image in found] == [(1, 4, 5)] * 2
    assert (stacked(found) == grey).all()


def test_a_list_may_mix_sizes_kinds_and_names():
    loaded = np.zeros((3, 7, 7), np.uint8)
    images = [np.zeros((4, 5), np.uint8), "cat.jpg", np.zeros((2, 9, 3), np.uint8)]
    found = planes(images, lambda name: {"cat.jpg": loaded}[name])
    assert [image.shape for image in found] == [(1, 4, 5), (3, 7, 7), (3, 2, 9)]
    assert found[1] is loaded


def test_nothing_of_the_callers_is_kept():
    images = np.zeros((1, 4, 4), np.uint8)
    (found,) = planes(images, none)
    found += 1
    assert not images.any()


@pytest.mark.parametrize("shape", [(4, 5, 6, 7, 3), (2, 4, 5, 4), (3,), (2, 0, 4)])
def test_other_shapes_are_sentences(shape):
    with pytest.raises(UserError, match="shape .* are expected"):
        planes(np.zeros(shape, np.uint8), none)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (None, "the images are None; uint8 arrays"),
        (5, "the images are 5; uint8 arrays"),
        ([[[1, 2], [3]]], "image 0 is no array; uint8 arrays"),
        ([None], "image 0 is of type object"),
    ],
)
def test_what_is_no_image_is_a_sentence(images, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        planes(images, load=None)
