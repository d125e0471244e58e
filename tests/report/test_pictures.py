"""Which images and decoders a report shows."""

import numpy as np

from swwae.report.images import decoded_depths, one_of_each_class
from swwae.runs.run import Run


def test_one_of_each_class_is_named_by_its_place():
    labels = [2, 0, 2, 1, 0]
    database = [(np.full((1, 1, 1), i), label) for i, label in enumerate(labels)]
    found = one_of_each_class(database, 10)
    assert list(found) == ["val:1 (class 0)", "val:3 (class 1)", "val:0 (class 2)"]
    assert [int(image.sum()) for image in found.values()] == [1, 3, 0]
    assert len(one_of_each_class(database, 2)) == 2


def test_depths_up_to_that_of_the_run():
    assert decoded_depths(Run("vgg8", "sae-all", 4)) == [1, 2, 3]
    assert decoded_depths(Run("vgg8", "sae-all", 4, depth=2)) == [1, 2]


def test_a_layerwise_decoder_inverts_the_first_macro_layer_alone():
    for depth in (None, 2, 4):
        assert decoded_depths(Run("vgg8", "swwae-layerwise", 4, depth)) == [1]
