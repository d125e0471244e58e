"""Image files of more than 8 bits, and broken ones."""

import cv2
import numpy as np
import pytest

from generator.errors import UserError
from swwae.images.arrays import planes
from swwae.images.pictures import decoded, read_image

RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (9, 7), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_16_bits_are_as_8(pixels, suffix, tmp_path):
    expected = np.atleast_3d(pixels).transpose(2, 0, 1)
    for values in (pixels, pixels * np.uint16(257)):
        path = tmp_path / f"{values.dtype}.{suffix}"
        cv2.imwrite(str(path), values)
        assert np.array_equal(read_image(path), expected)
        channels = len(expected)
        assert np.array_equal(decoded(path.read_bytes(), channels), expected)


def test_the_upper_bits_are_taken_as_by_opencv(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), RANDOM.integers(0, 1 << 16, (9, 7), dtype=np.uint16))
    assert np.array_equal(read_image(path)[0], cv2.imread(str(path), 0))


def test_files_of_floats(tmp_path):
    path = tmp_path / "floats.tiff"
    cv2.imwrite(str(path), GREY.astype(np.float32))
    assert np.array_equal(read_image(path)[0], GREY)
    cv2.imwrite(str(path), GREY / np.float32(255))
    with pytest.raises(
        UserError, match="floating-point numbers, 0.* to 0.*, not pixels"
    ):
        read_image(path)


@pytest.mark.parametrize(
    ("kind", "mend"),
    [("uint16", ">> 8"), ("float32", r"\* 255"), ("int64", "astype")],
)
def test_arrays_of_other_types_are_told_how_they_are_made_to_fit(kind, mend):
    with pytest.raises(UserError, match=f"image 0 is of type {kind}; .*{mend}"):
        planes([GREY.astype(kind)], read_image)


def test_a_png_whose_chunks_are_broken_is_a_sentence(tmp_path):
    """Pillow raises SyntaxError."""
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), COLOUR)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") - 1] = 1  # its length: the next begins in it
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as an image: broken PNG file"):
        read_image(path)
