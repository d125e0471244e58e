"""Reading images in processes of their own."""

from contextlib import closing

import cv2
import numpy as np

from swwae.images.database import Database
from swwae.images.loader import prepared
from swwae.images.preprocessing import Preprocessing
from tests.helpers.photographs import COLOUR, photograph, raw, write_lmdb


def test_opencvs_threads_in_the_parent_are_no_hindrance(tmp_path):
    """A fork has none of them: waiting for one would have no end."""
    pictures = [photograph(name) for name in COLOUR]
    path = write_lmdb(tmp_path / "lmdb", [raw(picture) for picture in pictures])
    images = Database(path, Preprocessing((3, 700, 700), (0.0,), 1024))
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.resize(np.zeros((3000, 3000, 3), np.uint8), (2000, 2000))
        expected = [images.preprocessing.framed(image) for image, _ in images]
        keys = images.keys(range(len(pictures)))
        with closing(prepared(images, keys, processes=2)) as reading:
            found = [image for image, _ in reading]
    finally:
        cv2.setNumThreads(before)
    assert all(map(np.array_equal, found, expected))
