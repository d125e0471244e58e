"""What data layers do to pixels, as their network files say."""

import pytest

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.nets.deployed import deployed
from swwae.nets.normalisation import Normalisation
from swwae.nets.transformation import Transformation, transformation


def layer(phase="", kind="Data", **fields):
    include = f"include {{ phase: {phase} }}" if phase else ""
    text = " ".join(f"{name}: {value}" for name, value in fields.items())
    return (
        f'layer {{ name: "d" type: "{kind}" top: "data" {include}'
        f" transform_param {{ {text} }} }}\n"
    )


@pytest.fixture
def read(tmp_path):
    def read(text, split="val"):
        path = tmp_path / "train_val.prototxt"
        path.write_text(text)
        return transformation(path, split)

    return read


def test_each_phase_has_its_own(read):
    text = layer("TRAIN", mirror="true", crop_size=32)
    text += layer("TEST", shorter_edge=40, scale=0.5, center_square="true")
    assert read(text, "train") == Transformation(mirror=True, crop_size=32)
    assert read(text, "val") == Transformation(
        scale=0.5, shorter_edge=40, center_square=True
    )


def test_a_phase_without_data_layers_is_given_the_others(read):
    assert read(layer("TRAIN", scale=2), "val").scale == 2
    assert read(layer("TEST", scale=3, kind="ImageData"), "train").scale == 3
    assert read(layer(scale=4), "train") == read(layer(scale=4), "val")


def test_other_layers_are_none_of_its_business(read):
    assert read(layer(scale=3, kind="Convolution")) == Transformation()


def test_a_mean_image_is_refused(read):
    with pytest.raises(UserError, match="mean image .m.*a number a channel"):
        read(layer(mean_file='"m"'))


def test_it_is_a_normalisation_of_pixels_in_0_1():
    exact = Normalisation((0.0, 0.5, 1.0), (1 / 127.5,) * 3, bgr=True)
    assert Transformation((0.0, 127.5, 255.0), 0.5).normalisation(3) == exact
    grey = Normalisation((0.2,), (1 / 255,))
    assert Transformation((51.0,)).normalisation(1) == grey
    assert Transformation((51.0,)).normalisation(3).mean == (0.2,) * 3
    assert Transformation().normalisation(1).mean == (0.0,)


def test_a_mean_is_the_decimal_that_was_written(read):
    mean = read(layer(mean_value=103.53)).normalisation(1).mean
    assert mean == (103.53 / 255,)


def test_a_built_in_networks_is_known_without_its_file(tmp_path, monkeypatch):
    expected = transformation(ROOT / "models/vgg8/baseline/train_val.prototxt", "val")
    found = deployed("vgg8", "baseline").transformation
    assert found == expected
    monkeypatch.setattr("swwae.base.project.ROOT", tmp_path)
    without = deployed("vgg8", "baseline").transformation
    assert without.normalisation(1) == expected.normalisation(1)
