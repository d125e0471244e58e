"""Gives a network's first layer weights for images that are normalised otherwise."""

from dataclasses import dataclass, replace

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.names import is_decoder
from swwae.exchange.state_dict import Blobs
from swwae.nets.deployed import Deployed, window
from swwae.nets.normalisation import Normalisation, border_change, converted


@dataclass(frozen=True)
class FirstLayer:
    """What reads the image, and how that is normalised where it is read."""

    layer: caffe_pb2.LayerParameter
    pixels: Normalisation


@dataclass(frozen=True)
class Fold:
    """border: the largest change in what the layer yields where its window reaches into
    the padding; 0 where the fold is exact."""

    layer: str
    border: float


def first_layer(net: Deployed) -> FirstLayer:
    """Returns a network's first convolution or inner product.

    Only factors may stand before it, and go into the normalisation. Raises UserError
    where something else does.
    """
    blob, factor = net.blob, 1.0
    for layer in net.layers.layer:
        if blob not in layer.bottom or is_decoder(layer.name):
            continue
        if layer.type in ("Convolution", "InnerProduct"):
            if layer.convolution_param.group > 1:
                raise UserError(
                    f"the first layer of {net.net}, {layer.name}, has"
                    f" {layer.convolution_param.group} groups; one is expected where it"
                    " is to take another normalisation."
                )
            std = tuple(value / factor for value in net.pixels.std)
            return FirstLayer(layer, replace(net.pixels, std=std))
        power = layer.power_param
        if layer.type != "Power" or (power.power, power.shift) != (1, 0):
            raise UserError(
                f"the image of {net.net} goes through {layer.name} ({layer.type})"
                " before its first convolution, which can therefore not take another"
                " normalisation."
            )
        blob, factor = layer.top[0], factor * power.scale
    raise UserError(f"no layer of {net.path} reads the image.")


def fold(
    net: Deployed,
    first: FirstLayer,
    blobs: Blobs,
    read: Normalisation,
    wanted: Normalisation,
) -> Fold:
    """Replaces the first layer's parameters, which are for images normalised as `read`,
    by those for `wanted`.

    A layer without a bias has it taken up by the BatchNorm behind it; raises UserError
    where there is none.
    """
    name, parameters = first.layer.name, blobs[first.layer.name]
    planar = first.layer.type == "Convolution"
    transposed = first.layer.inner_product_param.transpose
    weights = parameters[0].T if transposed else parameters[0]
    shaped = weights if planar else weights.reshape(-1, *net.image)
    if shaped.shape[1] != len(wanted.mean) or len(read.mean) != len(wanted.mean):
        raise UserError(
            f"the images of {net.net} have {shaped.shape[1]} channels; mean and std"
            f" have {len(wanted.mean)} and {len(read.mean)}: one number a channel is"
            " expected."
        )
    result, added = converted(shaped, read, wanted)
    result = result.reshape(weights.shape).astype(np.float32)
    result = np.ascontiguousarray(result.T if transposed else result)
    bias = _with_bias(net, first, blobs, added)
    blobs[name] = [result, *bias]
    border = 0.0
    if planar:
        shape = window(first.layer)
        border = border_change(shaped, read, wanted, shape, net.image[1:])
    return Fold(name, border)


def border_remark(folded: Fold, exact: str) -> str:
    """Returns what a fold leaves at the border, for a person.

    exact: what would leave nothing there.
    """
    if not folded.border:
        return "exact everywhere, the zero padding at the border included"
    return (
        f"exact inside; where the window of {folded.layer} reaches into the zero"
        f" padding its outputs differ by up to {folded.border:.2g}, as the means do;"
        f" {exact}"
    )


def _with_bias(
    net: Deployed, first: FirstLayer, blobs: Blobs, added: np.ndarray
) -> list[np.ndarray]:
    bias = blobs[first.layer.name][1:]
    if bias:
        return [(bias[0] + added.reshape(bias[0].shape)).astype(np.float32)]
    top = first.layer.top[0]
    readers = [la for la in net.layers.layer if top in la.bottom]
    if readers and readers[0].type == "BatchNorm":
        statistics = blobs[readers[0].name]
        factor = statistics[2].ravel()[0]
        statistics[0] = (statistics[0] - added * factor).astype(np.float32)
    elif added.any():
        raise UserError(
            f"{first.layer.name} of {net.net} has no bias, and no BatchNorm behind it,"
            " to take the difference of the means; it needs data with the same mean"
            " (see --mean)."
        )
    return []
