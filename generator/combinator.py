"""A ladder's combinator: merges what comes down with the noisy activation (A2.4).

It is the augmented multilayer perceptron of Pezeshki et al. (2016), each channel's own:
its inputs are u, what comes down, z~, the noisy activation, and u z~. Per channel means
1x1 convolutions with a group a channel.
"""

from dataclasses import replace
from math import prod

from . import names
from .layers import Enum, Fields, Layer, Shape
from .networks import multipliers
from .sequence import Activation
from .shapes import inferred

HIDDEN = 4
"""Hidden units of a combinator (ours), leaky by LEAK (Pezeshki et al. 2016)."""
LEAK = 0.1

COMBINATOR_STD = 0.3
"""Of a combinator's Gaussian initialisation (ours): it begins by making smaller."""


def combinator(
    activation: Activation, down: str, lateral: str, rate: float, magnitude: float
) -> list[Layer]:
    """Returns the layers of z^ = MLP(u, z~, u z~), of an activation's shape.

    down: the blob of u. lateral: that of z~. rate: lr_mult of the weights. magnitude:
    the root mean square of the activation, which divides the product so that it is of
    the others' order.
    """
    name = names.decoded(activation.name)
    channels = activation.shape[0]
    plane = prod(activation.shape[1:])

    def reshaped(source: str, top: str, *shape: int) -> Layer:
        fields = {"reshape_param": {"axis": 1, "shape": {"dim": list(shape)}}}
        return Layer(top, "Reshape", (source,), (top,), fields, shape)

    def mixed(source: str, top: str, outputs: int, shape: Shape) -> Layer:
        window = {"num_output": outputs, "kernel_size": 1}
        window |= {"group": channels} if channels > 1 else {}
        filler = {"type": "gaussian", "std": COMBINATOR_STD}
        window |= {"weight_filler": filler}
        fields: Fields = {"param": multipliers(rate), "convolution_param": window}
        layer = Layer(top, "Convolution", (source,), (top,), fields)
        shape, blobs = inferred(layer, shape)
        return replace(layer, shape=shape, blobs=blobs)

    product = f"{name}/product"
    operation = {"eltwise_param": {"operation": Enum("PROD")}}
    layers = [
        Layer(
            product, "Eltwise", (down, lateral), (product,), operation, activation.shape
        )
    ]
    if magnitude != 1:
        scale = {"power_param": {"scale": float(f"{1 / magnitude:.3g}")}}
        scaled = f"{product}/scale"  # Power's backward pass is wrong in place
        layers.append(
            Layer(scaled, "Power", (product,), (scaled,), scale, activation.shape)
        )
        product = scaled
    inputs = []
    for kind, blob in (("down", down), ("lateral", lateral), ("product", product)):
        inputs.append(f"{name}/{kind}/channels")
        layers.append(reshaped(blob, inputs[-1], channels, 1, plane))
    joined, hidden, output = f"{name}/inputs", f"{name}/hidden", f"{name}/output"
    layers.append(
        Layer(
            joined,
            "Concat",
            tuple(inputs),
            (joined,),
            {"concat_param": {"axis": 2}},
            (channels, 3, plane),
        )
    )
    inputs_of_mlp = reshaped(joined, f"{joined}/channels", 3 * channels, 1, plane)
    layers.append(inputs_of_mlp)
    layers.append(
        mixed(inputs_of_mlp.tops[0], hidden, HIDDEN * channels, inputs_of_mlp.shape)
    )
    leaky = {"relu_param": {"negative_slope": LEAK}}
    layers.append(
        Layer(names.relu(hidden), "ReLU", (hidden,), (hidden,), leaky, layers[-1].shape)
    )
    layers.append(mixed(hidden, output, channels, layers[-1].shape))
    last = reshaped(output, names.reshaped(output), *activation.shape)
    layers.append(replace(last, tops=(name,)))
    return layers
