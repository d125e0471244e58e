"""Built-in networks whose files are not kept in models/: for small colour images.

`python -m generator NET` makes them. Their learning rates and loss weights are
estimates from their shapes; tools/find_lr.py and tools/balance_losses.py find better
ones.
"""

from .errors import lookup
from .networks import (
    NETWORKS,
    classifier,
    inner_product,
    scaled_image,
    scores,
    vgg_macro_layer,
)
from .sequence import Activation, DataSet, Network, Schedule

_SCALED = scaled_image(Activation("data", "data", ()))

_STAGE_0 = Schedule(
    base_lr=0.02,
    epochs=20,
    batch_size=64,
    steps=(12, 17),
    why="ours: vgg8's rate, longer; not tuned",
)

VGG8_32 = classifier(
    name="vgg8_32",
    title="8-layer VGG-style network for 32x32 colour images (ours)",
    image=(3, 32, 32),
    groups=(
        [_SCALED, *vgg_macro_layer(1, 2, 32)],
        vgg_macro_layer(2, 2, 64),
        vgg_macro_layer(3, 2, 128),
        inner_product("fc4", 256, dropout=0),
        scores("fc5", 10),
    ),
    data=DataSet(
        folder="data/cifar10",
        train="train_lmdb",
        test="test_lmdb",
        mean_value=(113.865, 122.95, 125.307),  # of CIFAR-10's training images
        train_images=50_000,
        test_images=10_000,
        test_batch=100,
    ),
    magnitude=0.3,  # ours, as vgg8's
    training=_STAGE_0,
)

VGG10_96 = classifier(
    name="vgg10_96",
    title="10-layer VGG-style network for 96x96 colour images (ours)",
    image=(3, 96, 96),
    groups=(
        [_SCALED, *vgg_macro_layer(1, 2, 16)],
        vgg_macro_layer(2, 2, 32),
        vgg_macro_layer(3, 2, 64),
        vgg_macro_layer(4, 2, 128),
        inner_product("fc5", 256, dropout=0),
        scores("fc6", 10),
    ),
    data=DataSet(
        folder="data/stl10",
        train="train_lmdb",
        test="test_lmdb",
        # of STL-10's images with and without labels
        mean_value=(103.695, 112.151, 113.911),
        train_images=5_000,
        test_images=8_000,
        test_batch=100,
    ),
    magnitude=0.3,  # ours, as vgg8's
    training=_STAGE_0,
)

SMALL = {network.name: network for network in (VGG8_32, VGG10_96)}

BUILT_IN = NETWORKS | SMALL
"""Every network that the generator knows by name."""


def find_network(name: str) -> Network:
    """Returns a built-in network by its name; raises UserError, naming those known."""
    return lookup("network", name, BUILT_IN)
