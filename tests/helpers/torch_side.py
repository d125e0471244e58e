"""Weights as torch has them, and what it would compute with them, by NumPy."""

import numpy as np

from swwae.exchange.exporting import load
from swwae.exchange.importing import (
    from_state_dict,
)
from swwae.exchange.torch_files import read_state_dict
from swwae.nets import weights
from swwae.nets.normalisation import TORCHVISION

NAMES = {
    "small_vgg": {
        "conv1_1": "features.0",
        "conv1_2": "features.2",
        "conv2_1": "features.10",  # behind features.2 in order, before it in letters
        "fc3": "classifier.0",
        "fc4": "classifier.3",
    },
    "small_vgg_bn": {
        "conv1_1": "features.0",
        "conv1_1/bn": "features.1",
        "conv1_2": "features.3",
        "conv1_2/bn": "features.4",
        "conv2_1": "features.7",
        "conv2_1/bn": "features.10",
        "fc3": "classifier.0",
        "fc4": "classifier.3",
    },
}


def torch_side(net, seed=3):
    """Random parameters of a network that reads normalised RGB: as Caffe has them, for
    NumPy, and under torch's names."""
    random = np.random.default_rng(seed)
    params, tensors = {}, {}
    for layer, name in NAMES[net.net].items():
        shapes = net.parameters[layer]
        if layer.endswith("/bn"):
            channels = shapes[0]
            mean, beta = (random.normal(0, 0.5, channels) for _ in range(2))
            variance, gamma = (random.uniform(0.5, 2, channels) for _ in range(2))
            params[layer] = [mean, variance, np.ones(1)]
            params[layer.replace("/bn", "/scale")] = [gamma, beta]
            tensors |= {
                f"{name}.running_mean": mean,
                f"{name}.running_var": variance,
                f"{name}.weight": gamma,
                f"{name}.bias": beta,
            }
            continue
        deviation = (2 / np.prod(shapes[0][1:])) ** 0.5
        own = [random.normal(0, deviation, shapes[0]), random.normal(0, 0.1, shapes[1])]
        params[layer] = own
        tensors |= {f"{name}.weight": own[0], f"{name}.bias": own[1]}
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    if net.net.endswith("_bn"):
        tensors["features.1.num_batches_tracked"] = np.array(7, np.int64)
    return params, tensors


def imported(net, state_file, folder, pixels=TORCHVISION):
    """The network in pycaffe with what a state dict gives, and the fold."""
    result, folded = from_state_dict(read_state_dict(state_file), net, pixels)
    out = folder / "imported.caffemodel"
    weights.save(result, out)
    return load(net, out), folded
