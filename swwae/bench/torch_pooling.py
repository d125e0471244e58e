"""Poolings and their inverses as PyTorch's functions, with Caffe's results.

Pooling rounds up. Depooling (fork/README.md) is max_unpool2d, or a strided copy for
FIX; where windows overlap or values are counted it is scatter_add or index_add, since
values that meet sum.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.layers import Layer
from generator.shapes import ShapeError, Window, pooling_window

Step = Callable[..., Tensor | tuple[Tensor, ...]]
"""A layer's arithmetic: its bottoms' values in, its tops' out."""


def pooling_reason(layer: Layer) -> str | None:
    """Returns why a (De)Pooling layer has no counterpart; None where it has."""
    fields = layer.fields.get("pooling_param", {})
    method = fields.get("pool", "MAX")
    if fields.get("global_pooling"):
        return f"global {layer.type}" if layer.type == "Depooling" else None
    known = ("MAX", "AVE") if layer.type == "Pooling" else ("MAX", "SWITCH", "FIX")
    if method not in known:
        return f"{layer.type} by {method}"
    try:
        window = _pooled(layer)
    except ShapeError as error:
        return f"{layer.type} that {error}"
    sides = zip(window.kernel, window.stride, window.pad, strict=True)
    if any(2 * p > k or s > k for k, s, p in sides):
        return f"{layer.type} whose padding or stride is too large"
    return None


def _pooled(layer: Layer) -> Window:
    """Returns the window of a pooling that is not global, of whatever plane."""
    return pooling_window(layer, (1, 1, 1))


def pooling(layer: Layer, parameters: list, in_place: bool) -> Step:
    """Returns the arithmetic of a Pooling layer; its second top are the switches."""
    fields = layer.fields.get("pooling_param", {})
    up = fields.get("round_mode", "CEIL") == "CEIL"
    switches = len(layer.tops) > 1

    def step(x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        window = pooling_window(layer, tuple(x.shape[1:]))
        where = window.kernel, window.stride, window.pad
        if fields.get("pool", "MAX") == "AVE":
            return F.avg_pool2d(x, *where, ceil_mode=up)
        return F.max_pool2d(x, *where, ceil_mode=up, return_indices=switches)

    return step


def depooling(layer: Layer, parameters: list, in_place: bool) -> Step:
    """Returns the arithmetic of a Depooling layer, by switches or to a fixed place."""
    fields = layer.fields["pooling_param"]
    fixed = fields.get("pool", "MAX") == "FIX"
    arithmetic = _Depooling(
        fields,
        _pooled(layer),
        shaped=len(layer.bottoms) > (1 if fixed else 2),
        counted=len(layer.tops) > 1,
    )
    return arithmetic.to_place if fixed else arithmetic.by_switches


class _Depooling:
    """Unpools values (N, C, h, w).

    shaped: whether the last bottom has the shape of the result. counted: whether the
    second top is how many values landed on each place.
    """

    def __init__(
        self, fields: Mapping, window: Window, shaped: bool, counted: bool
    ) -> None:
        self._fields = fields
        self._window = window
        self._shaped = shaped
        self._counted = counted
        self._places: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}

    def by_switches(
        self, x: Tensor, switches: Tensor, *shape: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        window, plane = self._window, self._plane(x, shape)
        if not window.overlaps and not self._counted:
            return F.max_unpool2d(
                x, switches, window.kernel, window.stride, window.pad, plane
            )
        at = switches.flatten(2)
        flat = (*x.shape[:2], prod(plane))
        sums = x.new_zeros(flat).scatter_add(2, at, x.flatten(2))
        sums = sums.unflatten(2, plane)
        if not self._counted:
            return sums
        ones = x.new_ones(()).expand(at.shape)
        count = x.new_zeros(flat).scatter_add_(2, at, ones)
        return sums, count.unflatten(2, plane)

    def to_place(self, x: Tensor, *shape: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        plane = self._plane(x, shape)
        key = (*x.shape[2:], *plane)
        if key not in self._places:
            pooled = x.shape[2:]
            self._places[key] = _fixed_places(self._fields, self._window, pooled, plane)
        rows, columns = self._places[key]
        regular = [_as_slice(side) for side in (rows, columns)]
        if None not in regular and not self._counted:
            y = torch.empty(
                (*x.shape[:2], *plane),
                memory_format=_layout(x),
                dtype=x.dtype,
                device=x.device,
            ).zero_()
            y[:, :, regular[0], regular[1]] = x
            return y
        row, column = (torch.tensor(side, device=x.device) for side in (rows, columns))
        at = (row[:, None] * plane[1] + column).flatten()
        flat = (*x.shape[:2], prod(plane))
        y = x.new_zeros(flat).index_add(2, at, x.flatten(2)).unflatten(2, plane)
        if not self._counted:
            return y
        ones = x.new_ones((*flat[:2], len(at)))
        return y, x.new_zeros(flat).index_add_(2, at, ones).unflatten(2, plane)

    def _plane(self, x: Tensor, shape: tuple[Tensor, ...]) -> tuple[int, ...]:
        """Returns the result's height and width."""
        if self._shaped:
            return tuple(shape[-1].shape[2:])
        window = self._window
        sides = zip(x.shape[2:], window.stride, window.kernel, window.pad, strict=True)
        return tuple((length - 1) * s + k - 2 * p for length, s, k, p in sides)


def _layout(x: Tensor) -> torch.memory_format:
    """Returns the layout that a tensor is in."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _fixed_places(
    fields: Mapping, window: Window, pooled: Sequence[int], plane: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Returns (rows, columns) that the values go to: the place in the window, or the
    nearest one that the padding or the edge leaves (fork/README.md)."""
    sides = []
    for axis, name in enumerate(("fix_y", "fix_x")):
        kernel, stride, pad = (
            side[axis] for side in (window.kernel, window.stride, window.pad)
        )
        place = fields.get(name, fields.get("fix", -1))
        place = kernel // 2 if place < 0 else place
        side = []
        for at in range(pooled[axis]):
            begin = max(at * stride - pad, 0)
            end = min(at * stride - pad + kernel, plane[axis])
            side.append(min(max(at * stride - pad + place, begin), end - 1))
        sides.append(side)
    return sides[0], sides[1]


def _as_slice(places: list[int]) -> slice | None:
    """Returns the slice that places are; None where they are not evenly apart."""
    step = places[1] - places[0] if len(places) > 1 else 1
    if step < 1 or places != list(range(places[0], places[-1] + 1, step)):
        return None
    return slice(places[0], places[-1] + 1, step)
