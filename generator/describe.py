"""The table of a network: shapes, parameters, costs, receptive fields."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from .layers import Layer, Shape, as_list, shape_text
from .sequence import WEIGHTED, Network
from .shapes import KNOWN, ShapeError, convolution_window, inferred, pooling_window
from .stages import NetworkFile, plan
from .text import columns
from .variants import Variant

BYTES = 4
"""Of a number: Caffe computes in float32."""

VIEWS = ("Flatten", "Reshape", "Split")
"""Layers whose tops are their bottom's memory under another name."""

MULTIPLYING = (*WEIGHTED, "Deconvolution")

MAX_WIDTH = 100
"""Columns stand closer together in a table that would be wider (characters)."""

HEAD = ("layer", "type", "output", "parameters", "multiply-adds", "memory", "field")

FOOT = """\
For one image, forward. parameters: shared ones once, BatchNorm's statistics included.
multiply-adds: of convolutions and inner products, without biases. memory: float32, of
what layers yield that work neither in place nor as a view; training needs it twice,
for the gradients, and parameters three times: data, gradient, momentum. field: height
x width of the receptive field in pixels of the image, not cut off at its border."""

UNKNOWN = "?: not known, and not in the sums."


@dataclass(frozen=True)
class Row:
    """What one layer costs, for one image.

    layer: with its shape and those of its parameters, where they are known.
    parameters: that no layer before it shares. memory: in bytes.
    field: (height, width) of its receptive field in pixels; None: not known.
    """

    layer: Layer
    parameters: int
    multiply_adds: int
    memory: int
    field: tuple[int, int] | None

    @property
    def known(self) -> bool:
        """Whether the layer's shape is, if it has one that matters."""
        return bool(self.layer.shape) or _yields_nothing(self.layer)


@dataclass(frozen=True)
class _Seen:
    """A blob's shape and what it sees of the image: field and stride, in pixels."""

    shape: Shape = ()
    field: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)


def described(network: Network, variant: Variant, depth: int) -> str:
    """Returns the table of a variant's training network, with sums."""
    table = rows(network, plan(network, variant, depth).networks[0])
    cells: list[Sequence[str]] = [HEAD]
    for title, members in table.items():
        decodes = _part(title) == "decoder"
        cells.append((title,))
        cells += [_cells(row, decodes) for row in members]
    cells.append(())
    parts: dict[str, list[Row]] = {}
    for title, members in table.items():
        parts.setdefault(_part(title), []).extend(members)
    everything = [row for members in table.values() for row in members]
    cells += [_sum(name, parts[name]) for name in PARTS if name in parts]
    cells.append(_sum("total", everything))
    lines = [f"{network.name}: {network.title}"]
    if variant.has_decoder:
        lines.append(f"{variant.name}: {variant.title}, decoded from {depth}")
    lines += [*_aligned(cells), FOOT]
    if not all(row.known for row in everything):
        lines.append(UNKNOWN)
    return "\n".join(lines)


# --- figures


def rows(network: Network, file: NetworkFile) -> dict[str, list[Row]]:
    """Returns section title -> a row for every layer of training, data layers aside."""
    seen = {network.image.blob: _Seen(network.image.shape, (1, 1))}
    shared: set[str] = set()
    result = {}
    for section in file.sections:
        layers = [la for la in section.layers if la.bottoms and la.in_phase("TRAIN")]
        if layers:
            result[section.title] = [_row(layer, seen, shared) for layer in layers]
    return result


def _row(layer: Layer, seen: dict[str, _Seen], shared: set[str]) -> Row:
    bottoms = [seen.get(blob, _Seen()) for blob in layer.bottoms]
    layer = _shaped(layer, [bottom.shape for bottom in bottoms])
    above = _looked(layer, bottoms)
    seen.update(dict.fromkeys(layer.tops, above))
    fresh = [] if layer.type in VIEWS else set(layer.tops) - set(layer.bottoms)
    return Row(
        layer,
        _parameters(layer, shared),
        _multiply_adds(layer, bottoms[0].shape),
        len(fresh) * BYTES * prod(layer.shape) if layer.shape else 0,
        above.field,
    )


def _shaped(layer: Layer, bottoms: list[Shape]) -> Layer:
    """Returns the layer with its shapes, also where a user's file goes on behind the
    chain of macro-layers: branches that meet again, as in GoogLeNet."""
    if layer.shape or _yields_nothing(layer) or not all(bottoms):
        return layer
    if layer.type in KNOWN:
        try:
            shape, blobs = inferred(layer, bottoms[0])
        except ShapeError:
            return layer
        return replace(layer, shape=shape, blobs=blobs)
    if layer.type == "Concat":
        fields = layer.fields.get("concat_param", {})
        if fields.get("axis", fields.get("concat_dim", 1)) == 1:
            channels = sum(shape[0] for shape in bottoms)
            return replace(layer, shape=(channels, *bottoms[0][1:]))
    if layer.type in ("Eltwise", "Softmax", "Split"):
        return replace(layer, shape=bottoms[0])
    return layer


def _yields_nothing(layer: Layer) -> bool:
    """Nothing at all, or a number."""
    return not layer.tops or layer.type.endswith("Loss") or layer.type == "Accuracy"


def _parameters(layer: Layer, shared: set[str]) -> int:
    """Returns how many numbers the layer learns that are in no layer before it."""
    named = [spec.get("name") for spec in as_list(layer.fields.get("param"))]
    named += [None] * (len(layer.blobs) - len(named))
    new = [
        prod(blob)
        for name, blob in zip(named, layer.blobs, strict=False)
        if name not in shared
    ]
    shared.update(filter(None, named))
    return sum(new)


def _multiply_adds(layer: Layer, bottom: Shape) -> int:
    if layer.type not in MULTIPLYING or not layer.blobs:
        return 0
    places = {"Convolution": layer.shape[1:], "Deconvolution": bottom[1:]}
    return prod(places.get(layer.type, ())) * prod(layer.blobs[0])


def _looked(layer: Layer, bottoms: list[_Seen]) -> _Seen:
    """Returns what a layer's tops see, given its bottoms; of branches, what the widest
    does."""
    unseen = _Seen(layer.shape)
    if not layer.shape or any(bottom.field is None for bottom in bottoms):
        return unseen
    field = tuple(map(max, *(b.field for b in bottoms), (1, 1)))
    first = replace(bottoms[0], field=field)
    try:
        extent, stride = _window(layer, first.shape)
    except ShapeError:
        return unseen
    return _Seen(
        layer.shape,
        tuple(
            f + (e - 1) * s for f, e, s in zip(field, extent, first.stride, strict=True)
        ),
        tuple(a * b for a, b in zip(first.stride, stride, strict=True)),
    )


def _window(layer: Layer, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of what a layer looks at in its bottom, and of its steps."""
    if layer.type == "Convolution":
        window = convolution_window(layer)
        return window.extent, window.stride
    if layer.type == "Pooling":
        window = pooling_window(layer, shape)
        return window.extent, window.stride
    if layer.type in ("InnerProduct", "Flatten"):
        return (shape[1], shape[2]) if len(shape) == 3 else (1, 1), (1, 1)
    fields = layer.fields.get("lrn_param", {})
    if layer.type == "LRN" and fields.get("norm_region") == "WITHIN_CHANNEL":
        return (fields.get("local_size", 5),) * 2, (1, 1)
    if layer.type == "Deconvolution":
        raise ShapeError("sees differently from place to place")
    return (1, 1), (1, 1)


# --- text

PARTS = (
    "encoder",
    "classifier",
    "noisy encoder",
    "further layers",
    "decoder",
)


def _part(title: str) -> str:
    """Returns which of PARTS a section belongs to."""
    if title.startswith("classif"):
        return "classifier"
    if title.startswith("noisy encoder"):
        return "noisy encoder"
    if title.startswith(("decoder", "combinator", "image in units")):
        return "decoder"
    return title if title in PARTS else "encoder"


def _cells(row: Row, decodes: bool) -> tuple[str, ...]:
    layer = row.layer
    unknown = "" if row.known else "?"
    weighted = unknown if layer.type in MULTIPLYING else ""
    field = ""
    if not _yields_nothing(layer):
        field = "-" if decodes else shape_text(row.field) if row.field else "?"
    return (
        f"  {layer.name}",
        layer.type,
        shape_text(layer.shape) or unknown,
        f"{row.parameters:,}" if row.parameters else weighted,
        f"{row.multiply_adds:,}" if row.multiply_adds else weighted,
        _size(row.memory) if row.memory else unknown,
        field,
    )


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
    """Bytes in units of 1024, three digits before the point at most."""
    if count < 1000:
        return f"{count} B"
    size = count / 1024
    for unit in ("KiB", "MiB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _aligned(cells: list[Sequence[str]]) -> list[str]:
    """Words to the left, numbers to the right; a row of one cell is a heading."""
    full = [row for row in cells if len(row) == len(HEAD)]
    wide = [row for row in full if row[2]]  # a type may reach into an empty output
    kinds = max(len(row[1]) for row in wide)
    gap = "  "
    joined = [_type_and_output(row, kinds, gap) for row in full]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    widths[1] = kinds
    if sum(widths) + len(gap) * (len(HEAD) - 1) > MAX_WIDTH:
        gap = " "
        joined = [_type_and_output(row, kinds, gap) for row in full]
    lines = iter(columns(joined, "<<>", gap).splitlines())
    return [next(lines) if len(row) == len(HEAD) else "".join(row) for row in cells]


def _type_and_output(row: Sequence[str], width: int, gap: str) -> list[str]:
    """Returns the row with type and output in one cell. width: of the types."""
    name, kind, output, *numbers = row
    return [name, f"{kind:{width}}{gap}{output}" if output else kind, *numbers]
