"""A pass of one pycaffe network with the choices that another one made.

Rounding decides which of two nearly equal values a pooling window takes, and a single
one that falls the other way changes gradients by far more than rounding does. Where
arithmetic is compared, both sides therefore have the same switches, and the same values
before every ReLU: those of the network whose `values` are given.
"""

from collections.abc import Mapping

import numpy as np


def values(net) -> dict[str, np.ndarray]:
    """Returns blob -> a copy of its values, but for what Caffe's own Splits share."""
    shared = {
        top
        for name, layer in zip(net._layer_names, net.layers, strict=True)
        if layer.type == "Split"
        for top in net.top_names[name]
    }
    return {
        name: blob.data.copy() for name, blob in net.blobs.items() if name not in shared
    }


def forward_with_switches(net, given: Mapping[str, np.ndarray]) -> None:
    """Computes a forward pass with its own values and the given switches."""
    for at, name in enumerate(net._layer_names):
        net._forward(at, at)
        if net.layers[at].type == "Pooling":
            for switches in net.top_names[name][1:]:
                net.blobs[switches].data[...] = given[switches]


def forward_from(net, given: Mapping[str, np.ndarray]) -> None:
    """Computes every layer from the given values, then takes them for its results.

    So what layers keep inside (a maximum's place, statistics, probabilities) is of
    these values, too. A layer in place computes from what came before it.
    """
    for at, name in enumerate(net._layer_names):
        tops = net.top_names[name]
        for bottom in net.bottom_names[name]:
            if bottom in given and bottom not in tops:
                net.blobs[bottom].data[...] = given[bottom]
        net._forward(at, at)
    for name, array in given.items():
        net.blobs[name].data[...] = array
