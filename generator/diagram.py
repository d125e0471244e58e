"""What a picture of a network shows: boxes of layers, and their heights.

The unit of height is a row: a box and the gap above it; the image is at -1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from . import ladder, names
from .decoder import Decoding, decoder
from .layers import Layer, Shape, shape_text
from .mirror import MIRRORED
from .sequence import PASSED, WEIGHTED, Inverse, MacroLayer, Network
from .shapes import ShapeError, Window, convolution_window, pooling_window
from .variants import Variant

BOXED = (*WEIGHTED, "Pooling", "Deconvolution", "Depooling")
"""Layers with a box of their own; the others are text in one."""

APART = 0.42  # of a layerwise decoder's end from the next one's beginning
UNPOOLING = {"SWITCH": "by switches", "FIX": "to the centre", "AVE": "evenly"}


@dataclass(frozen=True)
class Box:
    """What is written in a box, and its height: that of its middle."""

    row: float
    name: str
    type: str
    detail: str
    switches: bool = False  # it unpools by them


@dataclass(frozen=True)
class Level:
    """A macro-layer: its boxes in forward order, its decoder's in the same order (none
    above the decoded depth), and the height of the activation above them."""

    macro: MacroLayer
    boxes: tuple[Box, ...]
    inverses: tuple[Box, ...]
    top: float


def levels(network: Network, variant: Variant, depth: int) -> list[Level]:
    """Returns the macro-layers with their heights: the image is at -1; a box is a row
    high, and so is an activation."""
    inverses: dict[int, list[Box]] = {}
    if variant.has_decoder:
        build = ladder.decoder if variant.ladder else decoder
        sections = build(network, variant, depth, Decoding(None))[-depth:]
        for index, section in zip(range(depth, 0, -1), sections, strict=True):
            macro = network.macro_layers[index - 1]
            inverses[index] = list(_inverses(network, macro, section.layers))
    gap = 1.0 if variant.stacked or not variant.has_decoder else 1.0 + APART
    levels = []
    row = 0.0
    for index, macro in enumerate(network.macro_layers, start=1):
        boxes = list(_boxes((*macro.layers, *macro.passed), network.image.shape))
        rows = [row + offset for offset in range(len(boxes))]
        above = _at(rows[::-1], inverses.get(index, []))
        levels.append(Level(macro, _at(rows, boxes), above[::-1], row + len(boxes)))
        row += len(boxes) + gap
    return levels


def _at(rows: list[float], boxes: list[Box]) -> tuple[Box, ...]:
    return tuple(replace(box, row=row) for row, box in zip(rows, boxes, strict=False))


def _inverses(
    network: Network, macro: MacroLayer, layers: Iterable[Layer]
) -> Iterator[Box]:
    """Yields a box for what undoes each box of the macro-layer, last one first."""
    boxes = list(_boxes(layers, macro.output.shape))
    undone = [layer for layer in reversed(macro.layers) if layer.type in BOXED]
    for layer in undone:
        several: tuple[Inverse, ...] = network.inverses.get(layer.name, ())
        if not several:
            yield boxes.pop(0)
            continue
        suffixes = ", ".join(f"-{inverse.suffix}" for inverse in several)
        joined, boxes = boxes[: len(several)], boxes[len(several) :]
        last = joined[-1]
        result = last.detail.rpartition("→")[2].strip()
        yield Box(0, names.decoded(layer.name), last.type, f"{suffixes} → {result}")


def _boxes(layers: Iterable[Layer], shape: Shape) -> Iterator[Box]:
    """Yields a box for each layer that has one, with what follows it; shape: of what
    the first one reads."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if layer.type in BOXED:
            groups.append([layer])
        elif groups:
            groups[-1].append(layer)
    for layer, *followers in groups:
        words = [_window_text(layer, shape)]
        words += [_SHORT.get(la.type, la.type) for la in followers if _is_named(la)]
        shape = layer.shape
        detail = f"{', '.join(filter(None, words))} → {shape_text(shape)}"
        switches = layer.type == "Depooling" and _pool(layer) == "SWITCH"
        yield Box(0, layer.name, layer.type, detail.strip(), switches)


_SHORT = {"BatchNorm": "BN", "Dropout": "dropout"}


def _is_named(layer: Layer) -> bool:
    """Tells whether a layer that follows a box's is named in it."""
    return layer.type in (*MIRRORED, *PASSED, "LRN", "MVN") and layer.type != "Flatten"


def _window_text(layer: Layer, shape: Shape) -> str:
    """11x11 / 4 for a window of 11x11 at stride 4, and how it pools or unpools."""
    try:
        if layer.type == "Pooling":
            return f"{_pool(layer)} {_window(pooling_window(layer, shape))}"
        if layer.type == "Depooling":
            how = UNPOOLING[_pool(layer)]
            if layer.fields["pooling_param"].get("global_pooling"):
                return f"global, {how}"
            return f"{_window(pooling_window(layer, shape))}, {how}"
        if layer.type != "InnerProduct":
            return _window(convolution_window(layer))
    except ShapeError:  # of a layer that is drawn, but not decoded
        return ""
    return ""


def _pool(layer: Layer) -> str:
    return str(layer.fields.get("pooling_param", {}).get("pool", "MAX"))


def _window(window: Window) -> str:
    text = shape_text(window.kernel)
    if window.stride != (1, 1):
        square = window.stride[0] == window.stride[1]
        text += f" / {window.stride[0] if square else shape_text(window.stride)}"
    return text
