"""Modules as torch has them, and the layers of a Caffe network as such modules.

A state dict names tensors `<module>.<parameter>`. torch and Caffe keep weights in the
same layout: convolutions (outputs, inputs, height, width), transposed ones (inputs,
outputs, height, width), inner products (outputs, inputs), a flattened map channel by
channel, row by row. Batch normalisation is two of Caffe's layers, BatchNorm with the
statistics and Scale with the factors and terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.layers import Shape
from generator.names import DECODER
from swwae.exchange.torch_files import StateDict
from swwae.nets import building

Blobs = dict[str, list[np.ndarray]]
"""Layer -> its parameters, as Caffe keeps them."""

Tensors = dict[str, np.ndarray]
"""Name of a tensor, or of a module's parameter -> its values, float32."""

IGNORED = ("num_batches_tracked",)


def _numbered(convolutions: Sequence[int], products: Sequence[int]) -> tuple[str, ...]:
    features = [f"features.{index}" for index in convolutions]
    return (*features, *(f"classifier.{index}" for index in products))


TORCHVISION_NAMES = {
    "vgg16": _numbered((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (0, 3, 6)),
    "vgg16_bn": _numbered(
        [
            place
            for first in (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
            for place in (first, first + 1)
        ],
        (0, 3, 6),
    ),
    "alexnet_owt": _numbered((0, 3, 6, 8, 10), (1, 4, 6)),
}
"""Built-in network -> the modules of torchvision's that have parameters, in order: of
vgg16, vgg16_bn and alexnet in torchvision.models."""

KINDS = {
    "Convolution": "Conv2d",
    "Deconvolution": "ConvTranspose2d",
    "InnerProduct": "Linear",
    "BatchNorm": "BatchNorm2d",
    "PReLU": "PReLU",
    "Scale": "Scale",
    "Bias": "Bias",
}
"""Caffe's types that have parameters -> torch's. torch has no Scale and no Bias."""


# --- torch's side


@dataclass(frozen=True)
class Module:
    """What a state dict has under one name. shapes: of its parameters, by theirs."""

    name: str
    shapes: Mapping[str, Shape]

    @property
    def kind(self) -> str:
        if "running_mean" in self.shapes:
            return "BatchNorm2d"
        axes = len(self.shapes.get("weight", ()))
        return {4: "Conv2d", 2: "Linear"}.get(axes, "other")

    def tensor(self, parameter: str) -> str:
        """Returns the name of the tensor that holds a parameter."""
        return f"{self.name}.{parameter}" if self.name else parameter


def modules(state: StateDict) -> list[Module]:
    """Returns the modules of a state dict that have parameters, in order."""
    found: dict[str, dict[str, Shape]] = {}
    for tensor, shape in state.shapes.items():
        name, _, parameter = tensor.rpartition(".")
        if parameter not in IGNORED:
            found.setdefault(name, {})[parameter] = shape
    return [Module(name, shapes) for name, shapes in found.items()]


# --- Caffe's side


@dataclass(frozen=True)
class Unit:
    """What torch has as one module: a layer with parameters, or a BatchNorm with the
    Scale behind it.

    shapes: of the parameters by torch's names. transposed: an inner product that keeps
    its weights as (inputs, outputs).
    """

    kind: str
    layer: str
    scale: str | None
    shapes: Mapping[str, Shape]
    transposed: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,) if self.scale is None else (self.layer, self.scale)

    def to_torch(self, blobs: Blobs) -> Tensors:
        """Returns torch's parameters, float32, by their names."""
        parameters = blobs[self.layer]
        if self.kind == "BatchNorm2d":
            # Caffe keeps sums; a factor of 0 is what no training has touched.
            factor = float(parameters[2].ravel()[0])
            factor = 1 / factor if factor else 0.0
            result = {
                "running_mean": parameters[0] * np.float32(factor),
                "running_var": parameters[1] * np.float32(factor),
            }
            if self.scale is not None:
                terms = blobs[self.scale]
                result["weight"] = terms[0]
                result["bias"] = terms[1] if len(terms) > 1 else np.zeros_like(terms[0])
            result["num_batches_tracked"] = np.array(0, np.int64)
            return result
        if self.kind == "Bias":
            return {"bias": parameters[0]}
        weights = parameters[0].T if self.transposed else parameters[0]
        result = {"weight": np.ascontiguousarray(weights)}
        if len(parameters) > 1:
            result["bias"] = parameters[1]
        return result

    def to_caffe(self, tensors: Tensors) -> Blobs:
        """Returns Caffe's parameters. tensors: torch's, of the shapes `shapes`."""
        weights = tensors.get("weight")
        if self.kind == "BatchNorm2d":
            one = np.ones(1, np.float32)
            result = {
                self.layer: [tensors["running_mean"], tensors["running_var"], one]
            }
            if self.scale is not None:
                result[self.scale] = [weights]
                if "bias" in self.shapes:
                    result[self.scale].append(tensors["bias"])
            return result
        if self.kind == "Bias":
            return {self.layer: [tensors["bias"]]}
        parameters = [weights.T if self.transposed else weights]
        if "bias" in self.shapes:
            parameters.append(tensors["bias"])
        return {self.layer: parameters}


def units(net: caffe_pb2.NetParameter, parameters: building.Shapes) -> list[Unit]:
    """Returns a network's layers with parameters, in order, as torch would have them.

    Raises UserError for a type that has no counterpart.
    """
    result: list[Unit] = []
    written_by: dict[str, str] = {}  # blob -> the last layer that wrote it
    for layer in net.layer:
        shapes = parameters.get(layer.name)
        below = written_by.get(layer.bottom[0]) if layer.bottom else None
        written_by |= dict.fromkeys(layer.top, layer.name)
        if not shapes:
            continue
        if layer.type not in KINDS:
            raise UserError(
                f"layer {layer.name} is of type {layer.type}, which no state dict has."
            )
        last = result[-1] if result else None
        follows = last is not None and last.layer == below
        if layer.type == "Scale" and follows and last.kind == "BatchNorm2d":
            result[-1] = _batch_norm(last.layer, layer.name, shapes)
        else:
            result.append(_unit(layer, shapes))
    return result


def _unit(layer: caffe_pb2.LayerParameter, shapes: list[Shape]) -> Unit:
    kind = KINDS[layer.type]
    if kind == "BatchNorm2d":
        return _batch_norm(layer.name, None, shapes)
    if kind == "Bias":
        return Unit(kind, layer.name, None, {"bias": shapes[0]})
    transposed = layer.inner_product_param.transpose
    weights = shapes[0][::-1] if transposed else shapes[0]
    names = ("weight", "bias")[: len(shapes)]
    found = dict(zip(names, (weights, *shapes[1:]), strict=True))
    return Unit(kind, layer.name, None, found, transposed)


def _batch_norm(layer: str, scale: str | None, shapes: list[Shape]) -> Unit:
    channels = shapes[0]
    names = ["running_mean", "running_var"]
    names += ("weight", "bias")[: len(shapes)] if scale else ()
    return Unit("BatchNorm2d", layer, scale, dict.fromkeys(names, channels))


def torch_names(net: str, found: Sequence[Unit]) -> dict[str, str]:
    """Returns layer -> module's name, of each of a network's units.

    torchvision's where that has the network; else, and for decoders, the layer's own.
    """
    encoder = [unit.layer for unit in found if not unit.layer.startswith(DECODER)]
    theirs = TORCHVISION_NAMES.get(net, ())
    names = {unit.layer: unit.layer for unit in found}
    if len(theirs) == len(encoder):
        names |= dict(zip(encoder, theirs, strict=True))
    return names
