"""The encoder: a network's macro-layers as a stage works on them, trained or fixed."""

from dataclasses import replace

from . import names
from .layers import Layer, Section, shape_text, without
from .sequence import Activation, MacroLayer, Network


def tapped(network: Network, depth: int) -> Network:
    """Returns the network with a_1 to a_`depth` out of reach of dropout, for training.

    Where a user's file drops in place what a pooling or another layer without
    parameters has made, that layer is there twice: once for the decoder. Behind an
    activation function in place, the decoder sees what dropout leaves.
    """
    return replace(
        network,
        macro_layers=tuple(
            _tapped(macro) if index <= depth else macro
            for index, macro in enumerate(network.macro_layers, start=1)
        ),
    )


def _tapped(macro: MacroLayer) -> MacroLayer:
    output, last = macro.output, macro.layers[-1]
    dropped = any(layer.tops == (output.blob,) for layer in macro.passed)
    if not dropped or last.blobs or last.bottoms == last.tops:
        return macro
    name = f"{names.decoded(output.name)}/clean"
    tap = replace(last, name=name, tops=(name,))
    place = macro.body.index(last) + 1
    return replace(
        macro,
        output=replace(output, blob=name),
        body=(*macro.body[:place], tap, *macro.body[place:]),
    )


def encoder(network: Network, depth: int, switches: int = 0) -> list[Section]:
    """Returns macro-layers 1 to `depth` as they are trained, in forward order.

    switches: so many macro-layers' max pooling also yields its switches.
    """
    layers = [
        (index, with_switches(layer) if index <= switches else layer)
        for index, macro in enumerate(network.macro_layers[:depth], start=1)
        for layer in macro.body
    ]
    return sections(network, layers)


def frozen_encoder(network: Network, depth: int, switches: bool) -> list[Section]:
    """Returns macro-layers 1 to `depth`, trained by nobody, in forward order.

    Nothing is dropped: a decoder learns to invert what the classifier computes, not
    what dropout leaves of it.
    """
    layers = []
    for index, macro in enumerate(network.macro_layers[:depth], start=1):
        passed = macro.passed if index < depth else ()
        layers += [(index, layer) for layer in (*macro.layers, *passed)]
    kept = iter(without((layer for _, layer in layers), "Dropout"))
    frozen = []
    for index, layer in layers:
        if layer.type != "Dropout":
            layer = next(kept).frozen()
            frozen.append((index, with_switches(layer) if switches else layer))
    return sections(network, frozen)


def sections(network: Network, layers: list[tuple[int, Layer]]) -> list[Section]:
    """Groups layers by macro-layer, under titles; the inner products share one.

    layers: each with the index of its macro-layer.
    """
    groups: dict[int, list[Layer]] = {}
    first_inner = next(
        (i for i, m in enumerate(network.macro_layers, 1) if not m.convolutional), None
    )
    for index, layer in layers:
        inner = not network.macro_layers[index - 1].convolutional
        groups.setdefault(first_inner if inner else index, []).append(layer)
    trail = network.activations
    last = max((index for index, _ in layers), default=0)
    result = []
    for index, group in groups.items():
        if index == first_inner:
            title = f"classifier: {arrow(trail[index - 1], trail[last])}"
        else:
            title = f"macro-layer {index}: {arrow(trail[index - 1], trail[index])}"
        result.append(Section(title, tuple(group)))
    return result


def with_switches(layer: Layer) -> Layer:
    """Returns a max pooling that also yields its switches; other layers as they are."""
    if layer.type != "Pooling" or len(layer.tops) > 1:
        return layer
    if names.is_decoder(layer.name):
        return layer
    if layer.fields.get("pooling_param", {}).get("pool", "MAX") != "MAX":
        return layer
    return replace(layer, tops=(layer.tops[0], mask_of(layer)))


def mask_of(layer: Layer) -> str:
    """Returns the blob of a max pooling's switches."""
    return layer.tops[1] if len(layer.tops) > 1 else names.switches(layer.tops[0])


def arrow(here: Activation, there: Activation) -> str:
    """Returns what a macro-layer does to a shape: 3x224x224 -> 64x112x112."""
    return f"{shape_text(here.shape)} -> {shape_text(there.shape)}"
