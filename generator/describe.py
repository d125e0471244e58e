"""The table of a network: shapes, parameters, costs, receptive fields."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from .layers import Layer, Shape, as_list, shape_text
from .sequence import Network
from .shapes import ShapeError, convolution_window, pooling_window
from .stages import NetworkFile, plan
from .variants import Variant

BYTES = 4
"""Of a number: Caffe computes in float32."""

HEAD = ("layer", "type", "output", "parameters", "multiply-adds", "memory", "field")

FOOT = """\
One image, forward. multiply-adds: of convolutions and inner products, without biases.
memory: of what layers that do not work in place yield, float32; training holds the
gradients besides, and of every parameter its gradient and its momentum. field: the
receptive field in pixels of the image, not cut off at its border."""


@dataclass(frozen=True)
class Row:
    """What one layer costs, for one image.

    field: (height, width) of its receptive field in pixels; None: none is given.
    """

    layer: Layer
    parameters: int
    multiply_adds: int
    memory: int
    field: tuple[int, int] | None


@dataclass(frozen=True)
class _Seen:
    """What a blob sees of the image: field and stride, in pixels; its own shape."""

    shape: Shape
    field: tuple[int, int] | None
    stride: tuple[int, int] = (1, 1)


def rows(network: Network, file: NetworkFile) -> dict[str, list[Row]]:
    """Section title -> a row for every layer that is there in training, data aside.

    Shared parameters count once. The receptive field is that of encoder and
    classifier; what a decoder reads has none.
    """
    seen = {network.image.blob: _Seen(network.image.shape, (1, 1))}
    shared: set[str] = set()
    result = {}
    for section in file.sections:
        layers = [la for la in section.layers if la.bottoms and la.in_phase("TRAIN")]
        if layers:
            made = [_row(layer, seen, shared) for layer in layers]
            result[section.title] = made
    return result


def _row(layer: Layer, seen: dict[str, _Seen], shared: set[str]) -> Row:
    bottom = seen.get(layer.bottoms[0], _Seen((), None))
    above = _looked(layer, bottom)
    for top in layer.tops:
        seen[top] = above
    in_place = layer.bottoms[:1] == layer.tops[:1]
    tops = 0 if in_place else len(layer.tops)
    return Row(
        layer,
        _parameters(layer, shared),
        _multiply_adds(layer, bottom.shape),
        tops * BYTES * (prod(layer.shape) if layer.shape else 0),
        above.field,
    )


def _parameters(layer: Layer, shared: set[str]) -> int:
    specs = as_list(layer.fields.get("param"))
    specs += [{}] * (len(layer.blobs) - len(specs))
    total = 0
    for spec, blob in zip(specs, layer.blobs, strict=False):
        name = spec.get("name")
        if name and name in shared:
            continue
        if name:
            shared.add(name)
        total += prod(blob)
    return total


def _multiply_adds(layer: Layer, bottom: Shape) -> int:
    if not layer.blobs:
        return 0
    weights = prod(layer.blobs[0])
    if layer.type == "InnerProduct":
        return weights
    if layer.type == "Convolution":
        return prod(layer.shape[1:]) * weights
    if layer.type == "Deconvolution":
        return prod(bottom[1:]) * weights
    return 0


def _looked(layer: Layer, bottom: _Seen) -> _Seen:
    """What a layer's top sees, given its bottom."""
    if bottom.field is None or layer.name.startswith("dec:") or not layer.shape:
        return _Seen(layer.shape, None)
    try:
        if layer.type == "Convolution":
            window = convolution_window(layer)
        elif layer.type == "Pooling":
            window = pooling_window(layer, bottom.shape)
        elif layer.type == "InnerProduct":
            plane = bottom.shape[1:] or (1, 1)
            field = _grown(bottom.field, plane, bottom.stride)
            return _Seen(layer.shape, field, bottom.stride)
        else:
            return _Seen(layer.shape, bottom.field, bottom.stride)
    except ShapeError:
        return _Seen(layer.shape, None)
    stride = tuple(a * b for a, b in zip(bottom.stride, window.stride, strict=True))
    field = _grown(bottom.field, window.extent, bottom.stride)
    return _Seen(layer.shape, field, stride)


def _grown(field: Shape, extent: Shape, stride: Shape) -> tuple[int, int]:
    """The field of a window of that extent over places so many pixels apart."""
    return tuple(f + (e - 1) * s for f, e, s in zip(field, extent, stride, strict=True))


def described(network: Network, variant: Variant, depth: int) -> str:
    """The table of a variant's training network, with totals."""
    file = plan(network, variant, depth).networks[0]
    table = rows(network, file)
    cells: list[tuple[str, ...]] = [HEAD]
    for title, members in table.items():
        cells.append((f"{title}",))
        cells += [_cells(row) for row in members]
    cells.append(())
    cells += [_sum(name, members) for name, members in _parts(table)]
    everything = [row for members in table.values() for row in members]
    cells.append(_sum("total", everything))
    lines = [f"{network.name}, {variant.name}, decoded from {depth}: {network.title}"]
    if not variant.has_decoder:
        lines = [f"{network.name}: {network.title}"]
    return "\n".join([*lines, *_aligned(cells), FOOT])


def _cells(row: Row) -> tuple[str, ...]:
    layer = row.layer
    unknown = "" if layer.type.endswith("Loss") or not layer.tops else "?"
    return (
        f"  {layer.name}",
        layer.type,
        shape_text(layer.shape) or unknown,
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
        _size(row.memory) if row.memory else "",
        shape_text(row.field) if row.field else "",
    )


def _parts(table: dict[str, list[Row]]) -> list[tuple[str, list[Row]]]:
    """Encoder, classifier and decoder, those that there are."""
    parts: dict[str, list[Row]] = {"encoder": [], "classifier": [], "decoder": []}
    for title, members in table.items():
        for row in members:
            if row.layer.name.startswith(("dec:", "noisy:")) or "decoder" in title:
                parts["decoder"].append(row)
            elif title.startswith("classif"):
                parts["classifier"].append(row)
            else:
                parts["encoder"].append(row)
    return [(name, members) for name, members in parts.items() if members]


def _sum(name: str, members: Iterable[Row]) -> tuple[str, ...]:
    members = list(members)
    return (
        name,
        "",
        "",
        f"{sum(row.parameters for row in members):,}",
        f"{sum(row.multiply_adds for row in members):,}",
        _size(sum(row.memory for row in members)),
        "",
    )


def _size(count: int) -> str:
    """Bytes, in units of 1024."""
    if count < 1024:
        return f"{count} B"
    if count < 1024**2:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:.1f} MiB"


def _aligned(cells: list[tuple[str, ...]]) -> list[str]:
    """Words to the left, numbers to the right; a row of one cell is a heading."""
    full = [row for row in cells if len(row) == len(HEAD)]
    widths = [max(len(row[column]) for row in full) for column in range(len(HEAD))]
    lines = []
    for row in cells:
        if len(row) < 2:
            lines.append("".join(row))
            continue
        left = (cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False))
        right = (
            cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)
        )
        lines.append("  ".join([*left, *right]).rstrip())
    return lines
