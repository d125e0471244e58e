"""Networks of other people's making, mirrored, are loaded by the fork."""

import pytest

from generator.errors import UserError
from generator.stages import plan
from generator.variants import VARIANTS
from tests.helpers import loading
from tests.helpers.user_network import ALIKE, DEEP, LARGE, UPSTREAM, read


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("name", DEEP)
def test_the_fork_loads_every_depth(name, variant, thin):
    """Of every variant; shapes are as said, the reconstruction has the image's."""
    network = thin(name)
    depths = range(1, network.max_depth + 1)
    if not variant.has_decoder:
        depths = [network.depth]
    loading.in_child(loading.check_plans, [plan(network, variant, d) for d in depths])


@pytest.mark.parametrize("name", ALIKE)
def test_the_fork_loads_the_most_different_variants(name, thin):
    variants = ("swwae-all", "sae-layerwise", "ladder")
    plans = [plan(thin(name), VARIANTS[variant]) for variant in variants]
    loading.in_child(loading.check_plans, plans)


@pytest.mark.parametrize("name", ["nin", "vgg_bn", "oddities"])
def test_the_fork_loads_it_layer_by_layer(name, thin):
    """A macro-layer for every convolution: deeper, and with more to reconstruct."""
    network = thin(name, "layer")
    assert network.max_depth > thin(name).max_depth
    for variant in ("swwae-all", "ladder"):
        made = plan(network, VARIANTS[variant], network.max_depth)
        loading.in_child(loading.check_plan, made)


def test_googlenet_is_mirrored_as_far_as_it_is_sequential(thin, tmp_path):
    copy = tmp_path / "googlenet.prototxt"
    path = UPSTREAM / "models/bvlc_googlenet/train_val.prototxt"
    copy.write_text(loading.thinned(path.read_text()))
    network = read(copy, LARGE)
    assert "inception_3a/1x1" in network.limit
    assert "--depth 2" in network.limit
    assert network.max_depth == 2
    plans = [plan(network, variant, 2) for variant in VARIANTS.values()]
    loading.in_child(loading.check_plans, plans)


@pytest.mark.parametrize(
    ("name", "image", "complaint"),
    [
        (
            "examples/siamese/mnist_siamese_train_test",
            (2, 28, 28),
            "'slice_pair'.*Slice",
        ),
        ("examples/pycaffe/linreg", (10,), "'ipy' reads a second input, 'y'"),
    ],
)
def test_what_is_not_sequential_is_refused_with_the_layer(name, image, complaint):
    with pytest.raises(UserError, match=complaint):
        read(UPSTREAM / f"{name}.prototxt", image)
