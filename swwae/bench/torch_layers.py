"""Caffe's layers as PyTorch's functions; `torch_net` makes a network of them.

What PyTorch's eager mode has for a layer is taken as it is; where both sides define
things differently, Caffe's definition is kept:

    EuclideanLoss    1/(2N) of the sum of squares, with a gradient to both bottoms
    SoftmaxWithLoss  the mean over the images that have a label; of each one it says
                     87.3 at most, and yet the gradient is that of the whole
    BatchNorm        normalises, and Scale scales: two layers
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.layers import Layer, as_list
from generator.shapes import ShapeError, convolution_window
from swwae.bench.torch_pooling import (
    Step,
    depooling,
    pooling,
    pooling_reason,
)

SAVES_NO_TOP = (
    *("Convolution", "Deconvolution", "InnerProduct"),
    *("BatchNorm", "Scale", "Bias"),
)
"""Layers whose backward pass does not read their own top: it may be overwritten."""

MOST_LOSS = 87.33654
"""-log of the smallest normal float32, which Caffe takes for smaller probabilities."""

NOT_COMPUTED = ("Silence", "Accuracy", "Input")
"""Layers that no training step computes."""


class Missing(Exception):
    """What of a network has no counterpart here: a layer and its type, in words."""


@dataclass
class Parameter:
    """A learned tensor: its values, and its lr_mult and decay_mult."""

    values: Tensor
    rate: float
    decay: float


def loss_weight(layer: Layer) -> float:
    """Returns the weight of a layer's first top in the total loss; where it names none,
    1 of losses and 0 of others."""
    weights = as_list(layer.fields.get("loss_weight"))
    return weights[0] if weights else float(layer.type.endswith("Loss"))


def check(layer: Layer) -> None:
    """Raises Missing for what BUILDERS would get wrong."""
    if layer.type in NOT_COMPUTED:
        return
    reason = layer.type if layer.type not in BUILDERS else None
    if layer.type in REASONS:
        reason = REASONS[layer.type](layer)
    if loss_weight(layer) and not layer.type.endswith("Loss"):
        reason = f"{layer.type} with a loss_weight"
    if reason:
        raise Missing(f"{layer.name} ({reason})")


def _convolution_reason(layer: Layer) -> str | None:
    try:
        convolution_window(layer)
    except ShapeError as error:
        return f"{layer.type} that {error}"
    return None


def _softmax_loss_reason(layer: Layer) -> str | None:
    fields = layer.fields.get("loss_param", {})
    usual = fields.get("normalization", "VALID") == "VALID"
    usual = usual and fields.get("normalize", True)
    axis = layer.fields.get("softmax_param", {}).get("axis", 1)
    if usual and axis == 1 and len(layer.tops) <= 1:
        return None
    return "SoftmaxWithLoss of another normalization or axis"


def _channels_reason(layer: Layer) -> str | None:
    fields = layer.fields.get(f"{layer.type.lower()}_param", {})
    axes = fields.get("axis", 1), fields.get("num_axes", 1)
    if len(layer.bottoms) == 1 and axes == (1, 1):
        return None
    return f"{layer.type} of other than channels"


def _reshape_reason(layer: Layer) -> str | None:
    axes = layer.fields.get("reshape_param", {}).get("num_axes", -1)
    return None if axes == -1 else "Reshape with num_axes"


def _inner_product_reason(layer: Layer) -> str | None:
    axis = layer.fields.get("inner_product_param", {}).get("axis", 1)
    return None if axis == 1 else "InnerProduct of another axis"


REASONS: dict[str, Callable[[Layer], str | None]] = {
    "Bias": _channels_reason,
    "Convolution": _convolution_reason,
    "Deconvolution": _convolution_reason,
    "Depooling": pooling_reason,
    "InnerProduct": _inner_product_reason,
    "Pooling": pooling_reason,
    "Reshape": _reshape_reason,
    "Scale": _channels_reason,
    "SoftmaxWithLoss": _softmax_loss_reason,
}
"""Layer type -> returns why a layer has no counterpart here; None where it has."""


def _convolution(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    window = convolution_window(layer)
    group = layer.fields["convolution_param"].get("group", 1)
    weight, bias = _weight_and_bias(parameters)

    def step(x: Tensor) -> Tensor:
        return F.conv2d(
            x, weight, bias, window.stride, window.pad, window.dilation, group
        )

    return step


def _deconvolution(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    window = convolution_window(layer)
    group = layer.fields["convolution_param"].get("group", 1)
    weight, bias = _weight_and_bias(parameters)

    def step(x: Tensor) -> Tensor:
        return F.conv_transpose2d(
            x, weight, bias, window.stride, window.pad, 0, group, window.dilation
        )

    return step


def _inner_product(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    weight, bias = _weight_and_bias(parameters)
    if layer.fields["inner_product_param"].get("transpose"):
        return lambda x: F.linear(x.flatten(1), weight.t(), bias)
    return lambda x: F.linear(x.flatten(1), weight, bias)


def _weight_and_bias(parameters: list[Parameter]) -> tuple[Tensor, Tensor | None]:
    weight, *bias = (parameter.values for parameter in parameters)
    return weight, bias[0] if bias else None


def _relu(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    slope = layer.fields.get("relu_param", {}).get("negative_slope", 0.0)
    if slope:
        return lambda x: F.leaky_relu(x, slope, inplace=in_place)
    return lambda x: F.relu(x, inplace=in_place)


def _power(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields.get("power_param", {})
    power, scale = fields.get("power", 1.0), fields.get("scale", 1.0)
    shift = fields.get("shift", 0.0)

    def step(x: Tensor) -> Tensor:
        y = x * scale
        y = y + shift if shift else y
        return y if power == 1 else y**power

    return step


def _safe_inverse(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    return lambda x: torch.where(x == 0, 0.0, 1 / torch.where(x == 0, 1.0, x))


def _eltwise(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields.get("eltwise_param", {})
    operation = fields.get("operation", "SUM")
    factors = as_list(fields.get("coeff")) or [1.0] * len(layer.bottoms)

    def step(*bottoms: Tensor) -> Tensor:
        result = bottoms[0] if factors[0] == 1 else factors[0] * bottoms[0]
        for x, factor in zip(bottoms[1:], factors[1:], strict=True):
            if operation == "PROD":
                result = result * x
            elif operation == "MAX":
                result = torch.maximum(result, x)
            else:
                result = torch.add(result, x, alpha=factor)
        return result

    return step


def _reshape(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields["reshape_param"]
    sizes = as_list(fields.get("shape", {}).get("dim"))
    axis = fields.get("axis", 0)

    def step(x: Tensor) -> Tensor:
        first = axis if axis >= 0 else axis + x.dim() + 1
        old = x.shape[first:]
        new = [old[at] if size == 0 else size for at, size in enumerate(sizes)]
        return x.reshape(*x.shape[:first], *new)

    return step


def _flatten(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields.get("flatten_param", {})
    return lambda x: x.flatten(fields.get("axis", 1), fields.get("end_axis", -1))


def _concat(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields.get("concat_param", {})
    axis = fields.get("axis", fields.get("concat_dim", 1))
    return lambda *bottoms: torch.cat(bottoms, axis)


def _split(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    return lambda x: (x,) * len(layer.tops)


def _dropout(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    ratio = layer.fields.get("dropout_param", {}).get("dropout_ratio", 0.5)
    return lambda x: F.dropout(x, ratio, training=True)


def _noise(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    std = layer.fields.get("gaussian_noise_param", {}).get("std", 0.3)
    return lambda x: x + std * torch.randn_like(x) if std else x


def _batch_norm(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    fields = layer.fields.get("batch_norm_param", {})
    epsilon, fraction = fields.get("eps", 1e-5), fields.get("moving_average_fraction")
    *sums, factor = (parameter.values for parameter in parameters)
    mean, variance = (
        values / float(factor) if factor else values.clone() for values in sums
    )
    momentum = 1 - (0.999 if fraction is None else fraction)
    learns = not fields.get("use_global_stats", False)
    return lambda x: F.batch_norm(
        x, mean, variance, training=learns, momentum=momentum, eps=epsilon
    )


def _scale(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    weight, bias = _weight_and_bias(parameters)

    def step(x: Tensor) -> Tensor:
        sides = (-1, *(1,) * (x.dim() - 2))
        y = x * weight.view(sides)
        return y if bias is None else y + bias.view(sides)

    return step


def _bias(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    return lambda x: x + parameters[0].values.view(-1, *(1,) * (x.dim() - 2))


def _euclidean(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    return lambda x, y: F.mse_loss(x, y, reduction="sum") / (2 * len(x))


def _softmax_loss(layer: Layer, parameters: list[Parameter], in_place: bool) -> Step:
    ignored = layer.fields.get("loss_param", {}).get("ignore_label", -100)

    def step(x: Tensor, labels: Tensor) -> Tensor:
        labels = labels.view(len(x), *x.shape[2:])
        losses = F.cross_entropy(x, labels, ignore_index=ignored, reduction="none")
        values = losses.detach()
        losses = losses + (values.clamp(max=MOST_LOSS) - values)
        return losses.sum() / (labels != ignored).sum().clamp(min=1)

    return step


BUILDERS: dict[str, Callable[[Layer, list[Parameter], bool], Step]] = {
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Concat": _concat,
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "Depooling": depooling,
    "Dropout": _dropout,
    "Eltwise": _eltwise,
    "EuclideanLoss": _euclidean,
    "Flatten": _flatten,
    "GaussianNoise": _noise,
    "InnerProduct": _inner_product,
    "Pooling": pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reshape": _reshape,
    "SafeInv": _safe_inverse,
    "Scale": _scale,
    "SoftmaxWithLoss": _softmax_loss,
    "Split": _split,
}
"""Layer type -> returns the arithmetic of a layer, given its parameters, and whether it
may overwrite its bottom."""
