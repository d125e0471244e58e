"""A slow, obvious interpreter of Caffe networks, to check what they compute.

Reads a NetParameter and computes in float64 with numpy. Shares nothing with Caffe but
the schema, and nothing at all with the generator, so that an agreement says something.

One function a layer type, each `(layer, bottoms, params, run) -> tops`, in
arithmetic_windows.py and arithmetic_functions.py; LAYERS says which.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from caffe.proto.caffe_pb2 import (
    LayerParameter,
    NetParameter,
    NetStateRule,
)

from tests.helpers.arithmetic_functions import (
    accuracy,
    bnll,
    concat,
    crop,
    dropout,
    eltwise,
    elu,
    euclidean_loss,
    flatten,
    gaussian_noise,
    hinge_loss,
    lrn,
    nothing,
    power,
    prelu,
    relu,
    reshape,
    safe_inverse,
    sigmoid,
    sigmoid_loss,
    slice_,
    softmax,
    softmax_loss,
    split,
    tanh,
)
from tests.helpers.arithmetic_windows import (
    Arrays,
    batch_norm,
    bias,
    convolution,
    deconvolution,
    depooling,
    inner_product,
    pooling,
    scale,
)

Params = dict[str, Arrays]
Blobs = dict[str, np.ndarray]
SMALLER_STEPS = 4  # ... each a tenth of the one before, before slope() gives up


@dataclass
class Run:
    """One forward pass: what it is told, and what it leaves behind.

    `choices` holds what every layer with a kink decided (signs, switches), in order:
    between two runs with equal choices the objective is smooth.
    """

    phase: int
    blobs: Blobs = field(default_factory=dict)
    objective: float = 0.0
    choices: Arrays = field(default_factory=list)


# Networks


def forward(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> Blobs:
    """The final value of every blob, by name (what is computed in place overwrites).

    params: layer -> its parameters, in Caffe's order and shapes. Of parameters shared
        by `param { name }` the first layer's count; later ones may be missing.
    inputs: blob -> values, for the tops of all layers without bottoms (Input, Data,
        DummyData, ...) and for the network's own `input`s.
    phase: caffe.TRAIN or caffe.TEST; the level is 0, and there are no stages.

    Raises ValueError where the network can't be interpreted: an unknown layer type, a
    missing input or parameter, shapes that don't fit, random numbers in TRAIN.
    """
    return execute(net, params, inputs, phase).blobs


def objective(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> float:
    """The sum of all tops, each times its loss_weight; arguments as in forward().

    As in Caffe, a type that ends in Loss has loss_weight 1 for its first top unless it
    says otherwise, any other top has 0.
    """
    return execute(net, params, inputs, phase).objective


def slope(
    net: NetParameter,
    params: Params,
    inputs: Blobs,
    phase: int,
    layer: str,
    blob_index: int,
    place: tuple[int, ...],
    step: float = 1e-5,
) -> float:
    """The objective's derivative in one parameter, by a central difference.

    The parameter is `params[layer][blob_index][place]` (where it is shared, moving it
    moves it in every layer), changed by ± `step`. If a choice of any layer (a pooling's
    switch, a ReLU's sign) differs between the two sides, a tenth of the step is tried,
    and so on; NaN means that there is a kink too close to measure a slope (or that a
    SoftmaxWithLoss is at its limit, see there).

    It is the true derivative: unlike Caffe's backward pass it knows no
    propagate_down or lr_mult, and BatchNorm's stored statistics have a slope, too.
    """
    layers = layers_in(net, phase)
    name, index = owners(layers).get((layer, blob_index), (layer, blob_index))
    if index >= len(params.get(name, [])):
        raise ValueError(f"Layer {name} has no parameter {index} to measure.")
    at = np.array(params[name][index], np.float64)

    def moved(value: float) -> Run:
        changed = at.copy()
        changed[place] = value
        blobs = list(params[name])
        blobs[index] = changed
        return execute(net, {**params, name: blobs}, inputs, phase)

    for _ in range(SMALLER_STEPS):
        high, low = at[place] + step, at[place] - step
        above, below = moved(high), moved(low)
        if all(map(np.array_equal, above.choices, below.choices)):
            return (above.objective - below.objective) / (high - low)
        step /= 10
    return float("nan")


def execute(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> Run:
    """One pass through all layers; arguments as in forward()."""
    if net.layers:
        raise ValueError("Expected `layer`s; found old `layers`. Upgrade the network.")
    run = Run(phase)
    run.blobs = {name: given(inputs, name) for name in net.input}
    layers = layers_in(net, phase)
    owner = owners(layers)
    for layer in layers:
        if not layer.bottom:
            tops = [given(inputs, name) for name in layer.top]
        else:
            if layer.type not in LAYERS:
                raise ValueError(f"Layer {layer.name} has unknown type {layer.type}.")
            for name in layer.bottom:
                if name not in run.blobs:
                    raise ValueError(f"Layer {layer.name} reads {name} too early.")
            bottoms = [run.blobs[name] for name in layer.bottom]
            mine = parameters(layer, params, owner)
            tops = list(map(np.asarray, LAYERS[layer.type](layer, bottoms, mine, run)))
        # A layer may have results that its network doesn't name.
        run.blobs.update(zip(layer.top, tops, strict=False))
        for weight, top in zip(loss_weights(layer), tops, strict=False):
            run.objective += weight * top.sum()
    return run


def given(inputs: Blobs, name: str) -> np.ndarray:
    if name not in inputs:
        raise ValueError(f"Expected an input {name}; found {', '.join(inputs)}.")
    return np.array(inputs[name], np.float64)


def loss_weights(layer: LayerParameter) -> list[float]:
    if not layer.loss_weight and layer.type.endswith("Loss"):
        return [1.0]
    return list(layer.loss_weight)


def layers_in(net: NetParameter, phase: int) -> list[LayerParameter]:
    """The layers that Caffe would build, by their include and exclude rules."""

    def met(rule: NetStateRule) -> bool:
        return (
            (not rule.HasField("phase") or rule.phase == phase)
            and (not rule.HasField("min_level") or rule.min_level <= 0)
            and (not rule.HasField("max_level") or rule.max_level >= 0)
            and not rule.stage
        )

    return [
        layer
        for layer in net.layer
        if (any(map(met, layer.include)) or not layer.include)
        and not any(map(met, layer.exclude))
    ]


def owners(layers: list[LayerParameter]) -> dict[tuple[str, int], tuple[str, int]]:
    """(layer, index) of each named parameter -> the first that has its name."""
    first: dict[str, tuple[str, int]] = {}
    return {
        (layer.name, index): first.setdefault(spec.name, (layer.name, index))
        for layer in layers
        for index, spec in enumerate(layer.param)
        if spec.name
    }


def parameters(layer: LayerParameter, params: Params, owner: dict) -> Arrays:
    """The layer's parameters in float64, shared ones from where they belong."""
    result = []
    for index in range(max(len(params.get(layer.name, [])), len(layer.param))):
        name, there = owner.get((layer.name, index), (layer.name, index))
        if there >= len(params.get(name, [])):
            raise ValueError(f"Layer {layer.name} lacks parameter {index} of {name}.")
        result.append(np.array(params[name][there], np.float64))
    return result


LAYERS: dict[str, Callable[[LayerParameter, Arrays, Arrays, Run], Arrays]] = {
    "Accuracy": accuracy,
    "BNLL": bnll,
    "BatchNorm": batch_norm,
    "Bias": bias,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": deconvolution,
    "Depooling": depooling,
    "Dropout": dropout,
    "ELU": elu,
    "Eltwise": eltwise,
    "EuclideanLoss": euclidean_loss,
    "Flatten": flatten,
    "GaussianNoise": gaussian_noise,
    "HingeLoss": hinge_loss,
    "ImageOutput": nothing,
    "InnerProduct": inner_product,
    "LRN": lrn,
    "PReLU": prelu,
    "Pooling": pooling,
    "Power": power,
    "ReLU": relu,
    "Reshape": reshape,
    "SafeInv": safe_inverse,
    "Scale": scale,
    "Sigmoid": sigmoid,
    "SigmoidCrossEntropyLoss": sigmoid_loss,
    "Silence": nothing,
    "Slice": slice_,
    "Softmax": softmax,
    "SoftmaxWithLoss": softmax_loss,
    "Split": split,
    "TanH": tanh,
}
