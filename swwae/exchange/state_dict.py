"""State dicts of torch, and which of their modules is which layer of a Caffe network.

A state dict names tensors `<module>.<parameter>`. torch and Caffe keep weights in the
same layout: convolutions (outputs, inputs, height, width), transposed ones (inputs,
outputs, height, width), inner products (outputs, inputs), a flattened map channel by
channel, row by row. Batch normalisation is two of Caffe's layers, BatchNorm with the
statistics and Scale with the factors and terms.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from safetensors import SafetensorError, safe_open

from generator.errors import UserError
from generator.layers import Shape, shape_text
from generator.names import DECODER
from generator.networks import NETWORKS
from swwae.base.project import relative
from swwae.nets import building

Blobs = dict[str, list[np.ndarray]]
"""Layer -> its parameters, as Caffe keeps them."""


Tensors = dict[str, np.ndarray]
"""Name of a tensor, or of a module's parameter -> its values, float32."""


NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which a checkpoint has its state dict, beside an optimizer's."""


IGNORED = ("num_batches_tracked",)


NUMPY_TYPES = ("F32", "F16", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL")
"""Those of a .safetensors' types that are read: NumPy has no BF16 and no F8."""




SUFFIXES = (".safetensors", ".pth", ".pt")


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


IN_ORDER = ("Conv2d", "BatchNorm2d", "Linear")
"""Kinds that are told from a tensor's axes, and matched in order."""


# --- files


@dataclass(frozen=True)
class StateDict:
    """The tensors of a file, read one by one. shapes: of all of them, in order."""

    path: Path
    shapes: Mapping[str, Shape]
    _source: object = field(repr=False)

    def array(self, name: str) -> np.ndarray:
        """float32; UserError where what it holds is not finite then."""
        with np.errstate(over="ignore"):
            values = np.asarray(self._source[name], np.float32)
        if not np.isfinite(values).all():
            raise UserError(
                f"{name} in {relative(self.path)} holds numbers that are not finite."
            )
        return values


def read_state_dict(path: Path) -> StateDict:
    """A .safetensors, .pth or .pt file; nested checkpoints are unwrapped.

    Raises UserError where it cannot be read, holds no tensors, or torch is needed and
    not installed.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error
    if path.suffix == ".safetensors":
        source = _Safetensors(path)
        shapes = source.shapes
    else:
        source = _torch_tensors(path)
        shapes = {name: tuple(values.shape) for name, values in source.items()}
    if not shapes:
        raise UserError(f"{relative(path)} holds no tensors.")
    return StateDict(path, shapes, source)


class _Safetensors:
    """Tensors by name, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="numpy")
            # The format keeps no order.
            names = sorted(self._file.keys(), key=_by_number)
            self.shapes = {
                name: tuple(self._file.get_slice(name).get_shape()) for name in names
            }
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{relative(path)} is not a whole .safetensors file: {error}."
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        kind = self._file.get_slice(name).get_dtype()
        if kind not in NUMPY_TYPES:
            raise UserError(
                f"{name} is of type {kind}, which is not read here: save the state dict"
                " in float32."
            )
        return self._file.get_tensor(name)


def _by_number(name: str) -> list:
    """features.2 before features.10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


class _Torch(dict):
    """Tensors by name, as numpy arrays."""

    def __getitem__(self, name: str) -> np.ndarray:
        return super().__getitem__(name).detach().float().numpy()


def _torch_tensors(path: Path) -> _Torch:
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError(
            f"{relative(path)} is read with torch, which is not installed: run"
            " .venv/bin/pip install -e '.[torch]', or save the weights as .safetensors."
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # bytes that are no pickle raise whatever they happen upon
        reason = str(e).splitlines()[0].rstrip(".") if str(e) else type(e).__name__
        raise UserError(
            f"{relative(path)} is not a whole state dict of torch ({reason}); what is"
            " expected is what torch.save(model.state_dict(), FILE) writes."
        ) from e
    found = _unwrapped(found, torch.Tensor)
    if found is None:
        raise UserError(
            f"{relative(path)} holds no state dict, neither by itself nor under"
            f" {', '.join(NESTED)}."
        )
    for name, values in found.items():
        dense = values.layout is torch.strided and not values.is_meta
        if not dense or values.is_quantized or values.is_complex():
            raise UserError(
                f"{name} in {relative(path)} is no plain tensor ({values.dtype},"
                f" {values.layout}, {values.device}): save the state dict in float32."
            )
    return _Torch({name.removeprefix("module."): t for name, t in found.items()})


def _unwrapped(found: object, tensor: type) -> dict | None:
    if not isinstance(found, Mapping):
        return None
    for _ in NESTED:  # a checkpoint in a checkpoint, but not without end
        inner = (found.get(key) for key in NESTED)
        found = next((value for value in inner if isinstance(value, Mapping)), found)
    tensors = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, tensor)
    }
    return tensors or None


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
        return f"{self.name}.{parameter}" if self.name else parameter


def modules(state: StateDict) -> list[Module]:
    """The modules of a state dict that have parameters, in order."""
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
        """torch's parameters, float32, by their names."""
        own = blobs[self.layer]
        if self.kind == "BatchNorm2d":
            # Caffe keeps sums; a factor of 0 is what no training has touched.
            factor = float(own[2].ravel()[0])
            factor = 1 / factor if factor else 0.0
            result = {
                "running_mean": own[0] * np.float32(factor),
                "running_var": own[1] * np.float32(factor),
            }
            if self.scale is not None:
                terms = blobs[self.scale]
                result["weight"] = terms[0]
                result["bias"] = terms[1] if len(terms) > 1 else np.zeros_like(terms[0])
            result["num_batches_tracked"] = np.array(0, np.int64)
            return result
        if self.kind == "Bias":
            return {"bias": own[0]}
        weights = own[0].T if self.transposed else own[0]
        result = {"weight": np.ascontiguousarray(weights)}
        if len(own) > 1:
            result["bias"] = own[1]
        return result

    def to_caffe(self, tensors: Tensors) -> Blobs:
        """Caffe's parameters; those of torch must have the shapes of `shapes`."""
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
        own = [weights.T if self.transposed else weights]
        if "bias" in self.shapes:
            own.append(tensors["bias"])
        return {self.layer: own}


def units(net: caffe_pb2.NetParameter, parameters: building.Shapes) -> list[Unit]:
    """A network's layers with parameters, in order, as torch would have them.

    Raises UserError for a type that has no counterpart.
    """
    result: list[Unit] = []
    made_by: dict[str, str] = {}  # blob -> the last layer that wrote it
    for layer in net.layer:
        shapes = parameters.get(layer.name)
        below = made_by.get(layer.bottom[0]) if layer.bottom else None
        made_by |= dict.fromkeys(layer.top, layer.name)
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
    """Layer of each of a network's units -> its module's name.

    torchvision's where that has the network; else, and for decoders, the layer's own.
    """
    encoder = [unit.layer for unit in found if not unit.layer.startswith(DECODER)]
    theirs = TORCHVISION_NAMES.get(net, ())
    own = {unit.layer: unit.layer for unit in found}
    if len(theirs) == len(encoder):
        own |= dict(zip(encoder, theirs, strict=True))
    return own


# --- both


def matched(
    state: StateDict, found: Sequence[Unit], net: str
) -> list[tuple[Unit, Module]]:
    """Which module each unit is given.

    By name where the file has this project's names for all that it holds; else by kind
    and order, decoders aside. Raises UserError, naming both sides, where kinds, numbers
    or shapes differ.
    """
    given = modules(state)
    by_layer = {unit.layer: unit for unit in found}
    if all(module.name in by_layer for module in given):
        pairs = [(by_layer[module.name], module) for module in given]
        missing = [
            unit.layer
            for unit in found
            if not unit.layer.startswith(DECODER)
            and unit.layer not in {module.name for module in given}
        ]
        if missing:
            raise UserError(
                f"{relative(state.path)} lacks {missing[0]} of {net}: it is another"
                " network's, or a part of one."
            )
    else:
        pairs = _in_order(state, given, found, net)
    for unit, module in pairs:
        _check(state, unit, module, net)
    return pairs


def _in_order(
    state: StateDict, given: list[Module], found: Sequence[Unit], net: str
) -> list[tuple[Unit, Module]]:
    encoder = [unit for unit in found if not unit.layer.startswith(DECODER)]
    for module in given:
        if module.kind == "other":
            names = ", ".join(module.shapes)
            raise UserError(
                f"{module.name} in {relative(state.path)} ({names}) is neither Conv2d,"
                f" BatchNorm2d nor Linear: {net} has nothing that it could be matched"
                " with."
            )
    for unit in encoder:
        if unit.kind not in IN_ORDER:
            raise UserError(
                f"layer {unit.layer} of {net} is {unit.kind}, which is matched by name"
                f" only; {relative(state.path)} has names of its own, such as"
                f" {given[0].name}."
            )
    pairs = []
    for kind in IN_ORDER:
        theirs = [module for module in given if module.kind == kind]
        ours = [unit for unit in encoder if unit.kind == kind]
        if len(theirs) != len(ours):
            raise UserError(
                f"{relative(state.path)} has {_counted(kind, [m.name for m in theirs])}"
                f" and {net} {_counted(kind, [u.layer for u in ours])}"
                f"{_hint(given, net)}"
            )
        pairs += zip(ours, theirs, strict=True)
    places = {unit.layer: place for place, unit in enumerate(encoder)}
    return sorted(pairs, key=lambda pair: places[pair[0].layer])


def _counted(kind: str, names: list[str]) -> str:
    if not names:
        return f"no {kind}"
    return f"{len(names)} {kind} ({names[0]} to {names[-1]})"


OPTIONAL = {"Conv2d": ("bias",), "ConvTranspose2d": ("bias",), "Linear": ("bias",)}
"""Parameters that torch's modules may lack: 0 then."""


def _check(state: StateDict, unit: Unit, module: Module, net: str) -> None:
    file = relative(state.path)
    hint = _hint(modules(state), net)
    for name, shape in unit.shapes.items():
        if name not in module.shapes:
            if name in OPTIONAL.get(unit.kind, ()):
                continue
            raise UserError(
                f"{module.name} in {file} has no {name}, which {unit.layer} of {net}"
                f" ({unit.kind}) takes{hint}"
            )
        # a single number has no axes in Caffe, and one in torch
        if module.shapes[name] != shape and prod(shape) != 1:
            raise UserError(
                f"{module.tensor(name)} in {file} is"
                f" {shape_text(module.shapes[name])}, {unit.layer} of {net} takes"
                f" {shape_text(shape)}{hint}"
            )
    for name in module.shapes.keys() - unit.shapes.keys():
        if name != "bias" or state.array(module.tensor(name)).any():
            raise UserError(
                f"{module.tensor(name)} in {file} has no place in {unit.layer} of"
                f" {net}, which has {', '.join(unit.shapes)}{hint}"
            )


def _hint(given: list[Module], net: str) -> str:
    """The end of a sentence: which built-in network the weights are of, if any."""
    wanted = {
        kind: [module.shapes.get("weight") for module in given if module.kind == kind]
        for kind in ("Conv2d", "Linear")
    }
    normalised = any(module.kind == "BatchNorm2d" for module in given)
    for other in NETWORKS.values():
        layers = [layer for macro in other.macro_layers for layer in macro.layers]
        shapes = {
            KINDS[kind]: [layer.blobs[0] for layer in layers if layer.type == kind]
            for kind in ("Convolution", "InnerProduct")
        }
        has_norm = any(layer.type == "BatchNorm" for layer in layers)
        if other.name != net and (shapes, has_norm) == (wanted, normalised):
            return f": they are of --net {other.name}."
    return ": they are another network's."


def tensors_of(state: StateDict, unit: Unit, module: Module) -> Tensors:
    """A module's parameters in the unit's shapes; 0 for a bias that it lacks."""
    return {
        name: state.array(module.tensor(name)).reshape(shape)
        if name in module.shapes
        else np.zeros(shape, np.float32)
        for name, shape in unit.shapes.items()
    }
