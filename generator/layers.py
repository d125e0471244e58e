"""What a network file is made of: layers, grouped under a title."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

Shape = tuple[int, ...]
"""A blob's shape without the batch axis: (channels, height, width) or (units,)."""

Fields = dict[str, Any]
"""A protobuf message: a dict is a message, a list a repeated field."""

PHASES = ("TRAIN", "TEST")


class Enum(str):
    """A protobuf enum's value: printed without quotes."""


@dataclass(frozen=True)
class Layer:
    """One Caffe layer.

    fields: what is printed after name, type, bottoms and tops, in the terms of
        caffe.proto's LayerParameter.
    shape: of the first top; () for a loss, and where it is not known.
    blobs: shapes of the layer's parameters, as Caffe stores them.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    fields: Fields = field(default_factory=dict)
    shape: Shape = ()
    blobs: tuple[Shape, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the layer learns."""
        return sum(prod(blob) for blob in self.blobs)

    def for_inference(self) -> "Layer":
        """Returns the same layer without what only training reads: multipliers and
        fillers."""
        return replace(
            self, fields=_without(self.fields, "param", "weight_filler", "bias_filler")
        )

    def frozen(self) -> "Layer":
        """Returns the same layer, trained by nobody; BatchNorm keeps the statistics
        that it has."""
        if not self.blobs:
            return self
        specs = as_list(self.fields.get("param"))
        names = [{k: p[k] for k in ("name",) if k in p} for p in specs]
        names += [{}] * (len(self.blobs) - len(names))
        fields = {"param": [name | {"lr_mult": 0} for name in names]}
        fields |= {k: v for k, v in self.fields.items() if k != "param"}
        if self.type == "BatchNorm":
            fields["batch_norm_param"] = self.fields.get("batch_norm_param", {}) | {
                "use_global_stats": True
            }
        return replace(self, fields=fields)

    def reading(self, renamed: dict[str, str]) -> "Layer":
        """Returns the same layer with other blobs for the bottoms that are renamed."""
        return replace(self, bottoms=tuple(renamed.get(b, b) for b in self.bottoms))

    def in_phase(self, phase: str) -> bool:
        """Tells whether `caffe train` builds the layer in a phase: TRAIN or TEST.

        Rules are Caffe's: any of `include`, or none of `exclude`; level 0, no stages.
        """
        include = as_list(self.fields.get("include"))
        exclude = as_list(self.fields.get("exclude"))
        if include:
            return any(_meets(rule, phase) for rule in include)
        return not any(_meets(rule, phase) for rule in exclude)


def _meets(rule: Fields, phase: str) -> bool:
    if rule.get("phase", phase) != phase or rule.get("stage"):
        return False
    return rule.get("min_level", 0) <= 0 <= rule.get("max_level", 0)


def _without(fields: Fields, *names: str) -> Fields:
    return {
        key: _without(value, *names) if isinstance(value, dict) else value
        for key, value in fields.items()
        if key not in names
    }


def as_list(value: Any) -> list:
    """Returns a repeated field as a list, however it is written: nothing, one value,
    several."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


@dataclass(frozen=True)
class Section:
    """Layers that belong together, under one comment in the file."""

    title: str
    layers: tuple[Layer, ...]


def without(layers: Iterable[Layer], *types: str) -> list[Layer]:
    """Returns the layers without those types; what read theirs reads what they read."""
    renamed: dict[str, str] = {}
    kept = []
    for layer in layers:
        layer = layer.reading(renamed)
        if layer.type in types:
            renamed[layer.tops[0]] = layer.bottoms[0]
        else:
            for top in layer.tops:
                renamed.pop(top, None)
            kept.append(layer)
    return kept


def shape_text(shape: Shape) -> str:
    """Returns 512x7x7 for (512, 7, 7)."""
    return "x".join(map(str, shape))


def value_text(value: Any) -> str:
    """Returns a scalar in protobuf's text format, numbers in their shortest form."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, str):
        return '"' + re.sub(r'[\\"\x00-\x1f\x7f]', _escaped, value) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def _escaped(match: re.Match) -> str:
    character = match[0]
    return f"\\{character}" if character in '\\"' else f"\\{ord(character):03o}"


def number_text(value: float) -> str:
    """Returns ten significant digits at most, more than a float32 holds: 1e-12, 0.001,
    3."""
    return re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{value:.10g}").replace("e+", "e")
