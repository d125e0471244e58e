"""Networks for small colour images, and built-in networks for other data sets."""

import pytest

import generator
from generator.derived import with_classes
from generator.errors import UserError
from generator.networks import NETWORKS
from generator.small_networks import BUILT_IN, SMALL


@pytest.mark.parametrize("network", BUILT_IN.values(), ids=BUILT_IN)
def test_another_number_of_classes_changes_the_scores_alone(network):
    other = with_classes(network, 37)
    assert other.macro_layers[:-1] == network.macro_layers[:-1]
    [before], [after] = (n.macro_layers[-1].layers for n in (network, other))
    assert after.blobs == ((37, before.blobs[0][1]), (37,))
    assert after.bottoms == before.bottoms and other.scores.shape == (37,)
    assert [layer.name for layer in other.head] == ["loss", "accuracy", "accuracy/top5"]
    assert with_classes(other, network.scores.shape[0]) == network


@pytest.mark.parametrize("classes", [-1, 0, 1, 2**16 + 1])
def test_numbers_of_classes_that_are_none(classes):
    with pytest.raises(UserError, match=f"--classes {classes}: a number from 2"):
        with_classes(SMALL["vgg8_32"], classes)


def test_a_network_for_another_set(tmp_path):
    generator.generate(
        "vgg8_32",
        "swwae-all",
        out=tmp_path,
        data="data/svhn",
        mean_value=(1, 2.5, 3),
        images=(73_257, 26_032),
        classes=7,
        name="digits",
    )
    network = (tmp_path / "models/digits/baseline/train_val.prototxt").read_text()
    assert 'source: "data/svhn/train_lmdb"' in network
    assert "num_output: 7" in network and "mean_value: 2.5" in network
    solver = (tmp_path / "solvers/digits/baseline/stage0.prototxt").read_text()
    assert "test_iter: 261" in solver  # of 100 images each
    [iterations] = [line for line in solver.splitlines() if "max_iter:" in line]
    assert int(iterations.split()[1]) == pytest.approx(20 * 73_257 / 64, rel=1e-3)
    assert "--mean-value 1,2.5,3 --images 73257,26032" in solver


def test_names_tell_classes_and_labels(tmp_path):
    for options, name in (
        ({"classes": 100}, "vgg8_32_classes100"),
        ({"classes": 100, "labels": 500}, "vgg8_32_classes100_labels500"),
        ({"labels": 500}, "vgg8_32_labels500"),
    ):
        generator.generate("vgg8_32", "baseline", out=tmp_path, **options)
        manifest = (tmp_path / f"models/{name}/network.json").read_text()
        assert manifest.count("default depth 3 of 5") == 1


@pytest.mark.parametrize("images", ["3", "3,", "0,1", "1,2,3", "a,b"])
def test_numbers_of_images_that_are_none(images, tmp_path):
    with pytest.raises(UserError, match="expected how many are trained with"):
        generator.generate("vgg8", out=tmp_path, images=images.split(","))


def test_small_networks_are_known_by_name(tmp_path):
    assert set(generator.network_names()) == NETWORKS.keys() | {"vgg8_32", "vgg10_96"}
    with pytest.raises(UserError, match="a built-in network has it"):
        generator.generate("vgg8", out=tmp_path, name="vgg8_32")
