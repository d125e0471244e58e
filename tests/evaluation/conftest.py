"""A model to evaluate, of which nothing is trained."""

import pytest

from swwae.base import project
from swwae.evaluation.model import Model
from swwae.nets.building import initial


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """vgg8 with a decoder, untrained: it reads grey images of 32x32."""
    folder = tmp_path_factory.mktemp("weights")
    path = project.ROOT / "models/vgg8/swwae-all/train_val.prototxt"
    weights = initial(path, 1, (1, 1, 32, 32), "data", folder)
    file = folder / "vgg8.caffemodel"
    file.write_bytes(weights.SerializeToString())
    return Model("vgg8", "swwae-all", None, file)
