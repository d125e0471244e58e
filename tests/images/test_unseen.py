"""Images that no data set has: computed, the same every time, of their kinds."""

import numpy as np
import pytest

from generator.errors import UserError
from swwae.images import unseen


@pytest.mark.parametrize("name", ["text", "drawing", "depth"])
@pytest.mark.parametrize("side", [1, 32, 224])
def test_they_have_the_size_and_are_the_same_every_time(name, side):
    image = unseen.load(name, side)
    assert image.dtype == np.uint8 and image.shape == (3, side, side)
    assert (image == unseen.load(name, side)).all()
    assert side == 1 or image.std() > 20


def test_text_is_dark_on_white_with_blue_links():
    blue, green, red = unseen.load("text", 224).astype(int)
    assert np.median(red) == 255
    lines = (red < 128).any(axis=1)
    runs = np.count_nonzero(lines[1:] & ~lines[:-1])
    assert runs >= 8, "lines of text"
    assert ((blue - red) > 100).sum() > 50
    assert (red < 60).sum() > 500


def test_a_drawing_has_flat_colours_and_outlines():
    image = unseen.load("drawing", 224).reshape(3, -1).T
    colours, counts = np.unique(image, axis=0, return_counts=True)
    assert np.sort(counts)[-8:].sum() > 0.75 * counts.sum()
    ink = (colours == unseen.INK[::-1]).all(axis=1)
    assert 0.02 < counts[ink].sum() / counts.sum() < 0.2


def test_depth_is_that_of_the_scene():
    """Along the rays through the spheres' centres, on the floor and at the wall."""
    side = 400
    blue, green, red = unseen.load("depth", side).astype(float)
    assert (blue == green).all() and (green == red).all()
    near = min(z - radius for _, _, z, radius in unseen.SPHERES)

    def bright(depth):
        return 40 + 215 * (unseen.WALL - depth) / (unseen.WALL - near)

    seen = 0
    for x, y, z, radius in unseen.SPHERES:
        up = y - unseen.EYE_HEIGHT
        distance = (x**2 + up**2 + z**2) ** 0.5
        depth = z * (distance - radius) / distance
        column = round(side * (0.5 + unseen.FOCAL_LENGTH * x / z) - 0.5)
        line = round(side * (0.5 - unseen.FOCAL_LENGTH * up / z) - 0.5)
        if line < side and red[line, column] < bright(depth) + 20:  # none before it
            assert red[line, column] == pytest.approx(bright(depth), abs=2)
            seen += 1
    assert seen >= 3
    assert red[0, 0] == 40
    floor = unseen.EYE_HEIGHT / ((0.5 - 0.5 / side) / unseen.FOCAL_LENGTH)
    assert red[-1, 0] == pytest.approx(bright(floor), abs=1)


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(UserError, match="unseen:text, unseen:drawing, unseen:depth"):
        unseen.load("cat", 32)
    with pytest.raises(UserError, match="from 1 to 4096 pixels, not 5000"):
        unseen.load("text", 5000)
