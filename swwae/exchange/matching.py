"""Finds which module of a state dict is which layer of a network."""

from collections.abc import Sequence
from math import prod

import numpy as np

from generator.errors import UserError
from generator.layers import Shape, shape_text
from generator.networks import NETWORKS
from swwae.base.project import relative
from swwae.exchange.state_dict import DECODER, KINDS, Module, Tensors, Unit, modules
from swwae.exchange.torch_files import StateDict

IN_ORDER = ("Conv2d", "BatchNorm2d", "Linear")
"""Kinds that are told from a tensor's axes, and matched in order."""

WEIGHTED = ("Conv2d", "Linear")
"""Kinds of which one may stand for the other; the classifier's come last."""

OPTIONAL = {"Conv2d": ("bias",), "ConvTranspose2d": ("bias",), "Linear": ("bias",)}
"""Parameters that torch's modules may lack: 0 then."""


def matched(
    state: StateDict, found: Sequence[Unit], net: str
) -> list[tuple[Unit, Module]]:
    """Returns each unit with the module that its parameters come from.

    By name where the file has this project's names for all that it holds; else by kind
    and order, decoders aside. Raises UserError, naming both sides, where kinds, numbers
    or shapes differ.
    """
    available = modules(state)
    by_layer = {unit.layer: unit for unit in found}
    if all(module.name in by_layer for module in available):
        pairs = [(by_layer[module.name], module) for module in available]
        missing = [
            unit.layer
            for unit in found
            if not unit.layer.startswith(DECODER)
            and unit.layer not in {module.name for module in available}
        ]
        if missing:
            raise UserError(
                f"{relative(state.path)} lacks {missing[0]} of {net}: it is another"
                " network's, or a part of one."
            )
    else:
        pairs = _in_order(state, available, found, net)
    for unit, module in pairs:
        _check(state, unit, module, net)
    return pairs


def _in_order(
    state: StateDict, available: list[Module], found: Sequence[Unit], net: str
) -> list[tuple[Unit, Module]]:
    encoder = [unit for unit in found if not unit.layer.startswith(DECODER)]
    for module in available:
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
                f" {available[0].name}."
            )
    pairs = []
    for kinds in _matched_kinds(available, encoder):
        theirs = [
            module for kind in kinds for module in available if module.kind == kind
        ]
        ours = [unit for kind in kinds for unit in encoder if unit.kind == kind]
        kind = " or ".join(kinds)
        if len(theirs) != len(ours):
            raise UserError(
                f"{relative(state.path)} has {_counted(kind, [m.name for m in theirs])}"
                f" and {net} {_counted(kind, [u.layer for u in ours])}"
                f"{_hint(available, net)}"
            )
        pairs += zip(ours, theirs, strict=True)
    places = {unit.layer: place for place, unit in enumerate(encoder)}
    return sorted(pairs, key=lambda pair: places[pair[0].layer])


def _matched_kinds(
    available: list[Module], encoder: list[Unit]
) -> tuple[tuple[str, ...], ...]:
    """Returns the kinds that are matched each in order, or several one after the other.

    An inner product is a convolution whose window is all of its input: where one side
    has more convolutions by as many as it has fewer inner products, the two are one
    kind (timm's VGG, and fully-convolutional networks).
    """

    def counted(items: Sequence[Module | Unit], kind: str) -> int:
        return sum(item.kind == kind for item in items)

    more, fewer = (
        counted(available, kind) - counted(encoder, kind) for kind in WEIGHTED
    )
    if more and more + fewer == 0:
        return (WEIGHTED, *((kind,) for kind in IN_ORDER if kind not in WEIGHTED))
    return tuple((kind,) for kind in IN_ORDER)


def _counted(kind: str, names: list[str]) -> str:
    if not names:
        return f"no {kind}"
    return f"{len(names)} {kind} ({names[0]} to {names[-1]})"


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
        if not _is_same(module.shapes[name], shape):
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


def _is_same(theirs: Shape, ours: Shape) -> bool:
    """Tells whether a parameter has the shape that it is to have: a single number has
    no axes in Caffe, and one in torch; an inner product may be a convolution's."""
    if theirs == ours or prod(theirs) != prod(ours):
        return theirs == ours
    return prod(ours) == 1 or (
        {len(theirs), len(ours)} == {2, 4} and theirs[0] == ours[0]
    )


def _hint(available: list[Module], net: str) -> str:
    """Returns the end of a sentence: which built-in network the weights are of, if
    any."""
    wanted = {
        kind: [
            module.shapes.get("weight") for module in available if module.kind == kind
        ]
        for kind in ("Conv2d", "Linear")
    }
    normalised = any(module.kind == "BatchNorm2d" for module in available)
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
    """Returns a module's parameters in the unit's shapes; 0 for a missing bias."""
    return {
        name: state.array(module.tensor(name)).reshape(shape)
        if name in module.shapes
        else np.zeros(shape, np.float32)
        for name, shape in unit.shapes.items()
    }
