"""What a network file is made of: layers, grouped under a title."""

import re
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

Shape = tuple[int, ...]
"""A blob's shape without the batch axis: (channels, height, width) or (units,)."""


class Enum(str):
    """A protobuf enum's value: printed without quotes."""


@dataclass(frozen=True)
class Layer:
    """One Caffe layer.

    fields: what is printed after name, type, bottoms and tops, in the terms of
        caffe.proto's LayerParameter: a dict is a message, a list a repeated field.
    shape: of the first top; () for a loss.
    blobs: shapes of the layer's parameters, as Caffe stores them.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)
    shape: Shape = ()
    blobs: tuple[Shape, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the layer learns."""
        return sum(prod(blob) for blob in self.blobs)

    def for_inference(self) -> "Layer":
        """The same without what only training reads: multipliers and fillers."""
        return replace(self, fields=_without(self.fields, "param", "weight_filler"))


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {
        key: _without(value, *names) if isinstance(value, dict) else value
        for key, value in fields.items()
        if key not in names
    }


@dataclass(frozen=True)
class Section:
    """Layers that belong together, under one comment in the file."""

    title: str
    layers: tuple[Layer, ...]


def shape_text(shape: Shape) -> str:
    """512x7x7 for (512, 7, 7)."""
    return "x".join(map(str, shape))


def value_text(value: Any) -> str:
    """A scalar in protobuf's text format, numbers in their shortest form."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def number_text(value: float) -> str:
    """Ten significant digits at most, more than a float32 holds: 1e-12, 0.001, 3."""
    return re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{value:.10g}").replace("e+", "e")
