"""The interpreter's layers that slide windows over images or have weights.

Shapes in docstrings: N images, C channels, H × W places. An axis named `axis` may be
negative, as in Caffe.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from caffe.proto import caffe_pb2
from caffe.proto.caffe_pb2 import (
    LayerParameter,
    PoolingParameter,
)

Arrays = list[np.ndarray]

FLT_MAX = float(np.finfo(np.float32).max)

# Windows


@dataclass(frozen=True)
class Axis:
    """How windows lie on one axis: window i covers i·stride − pad + k·dilation."""

    kernel: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def starts(self, windows: int) -> np.ndarray:
        return np.arange(windows) * self.stride - self.pad

    def plane(self, windows: int) -> int:
        """The size that `windows` windows cover, without the padding."""
        return (windows - 1) * self.stride + self.extent - 2 * self.pad


Axes = tuple[Axis, Axis]


def convolution_axes(layer: LayerParameter, x: np.ndarray) -> Axes:
    param = layer.convolution_param
    if x.ndim != 4 or param.axis not in (1, -3):
        raise ValueError(f"Layer {layer.name}: only images (N × C × H × W) are known.")

    def both(name: str, default: int | None = None) -> list[int]:
        if f"{name}_h" in param.DESCRIPTOR.fields_by_name:
            pair = getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
            if any(param.HasField(f"{name}_{side}") for side in "hw"):
                return list(pair)
        one = list(getattr(param, "kernel_size" if name == "kernel" else name))
        return one if len(one) == 2 else (one or [default]) * 2

    sizes = both("kernel"), both("stride", 1), both("pad", 0), both("dilation", 1)
    y, x_ = zip(*sizes, strict=True)
    return Axis(*y), Axis(*x_)


def pooling_axes(param: PoolingParameter, plane: tuple[int, int] | None) -> Axes:
    """`plane`: H, W, for global_pooling."""
    if param.global_pooling:
        return Axis(plane[0]), Axis(plane[1])

    def both(name: str, one: int) -> tuple[int, int]:
        two = param.HasField(f"{name}_h")
        pair = getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
        return pair if two else (one, one)

    kernel = both("kernel", param.kernel_size)
    stride = both("stride", param.stride)
    pad = both("pad", param.pad)
    y, x = zip(kernel, stride, pad, strict=True)
    return Axis(*y), Axis(*x)


def pooled_size(param: PoolingParameter, axes: Axes, plane: tuple) -> tuple[int, int]:
    """How many windows pooling has on each axis of a plane of H, W."""
    sizes = []
    for axis, size in zip(axes, plane, strict=True):
        room = size + 2 * axis.pad - axis.kernel
        up = param.round_mode == PoolingParameter.CEIL
        windows = (-(-room // axis.stride) if up else room // axis.stride) + 1
        padded = any(either.pad for either in axes)
        if padded and (windows - 1) * axis.stride >= size + axis.pad:
            windows -= 1  # it would start beyond the plane
        sizes.append(windows)
    return tuple(sizes)


def average_sizes(axes: Axes, plane: tuple, windows: tuple) -> np.ndarray:
    """What average pooling divides by (h × w): padding counts, what lies beyond not."""
    sizes = []
    for axis, size, count in zip(axes, plane, windows, strict=True):
        start = axis.starts(count)
        sizes.append(np.minimum(start + axis.kernel, size + axis.pad) - start)
    return np.outer(*sizes)


def canvas(
    x: np.ndarray, axes: Axes, windows: tuple[int, int], fill: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A plane with room for all windows; and, as a view of it, where x lies."""
    y_axis, x_axis = axes
    height, width = x.shape[2:]
    size = [
        max(axis.pad + old, (count - 1) * axis.stride + axis.extent)
        for axis, old, count in zip(axes, (height, width), windows, strict=True)
    ]
    whole = np.full((*x.shape[:2], *size), fill, np.float64)
    rows = slice(y_axis.pad, y_axis.pad + height)
    columns = slice(x_axis.pad, x_axis.pad + width)
    whole[:, :, rows, columns] = x
    return whole, whole[:, :, rows, columns]


def taps(
    whole: np.ndarray, axes: Axes, windows: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Place in the window (row by row), and a view of it in all windows, N × C × h × w.

    `whole` is a canvas(); views of one place don't overlap, so they can be added to.
    """
    y, x = axes
    for i in range(y.kernel):
        rows = slice(i * y.dilation, i * y.dilation + (windows[0] - 1) * y.stride + 1)
        for j in range(x.kernel):
            end = j * x.dilation + (windows[1] - 1) * x.stride + 1
            view = whole[:, :, rows, j * x.dilation : end]
            yield i, j, view[:, :, :: y.stride, :: x.stride]


# Layers with weights


def convolution(layer, bottoms, params, run):
    """N × C × H × W -> N × O × h × w; weights O × C/group × kernel, bias O."""
    param = layer.convolution_param
    group = param.group
    tops = []
    for x in bottoms:
        axes = convolution_axes(layer, x)
        images, channels = x.shape[:2]
        h, w = windows = tuple(
            (size + 2 * axis.pad - axis.extent) // axis.stride + 1
            for axis, size in zip(axes, x.shape[2:], strict=True)
        )
        weights = params[0].reshape(
            group, param.num_output // group, channels // group, *kernel(axes)
        )
        y = np.zeros((images, group, param.num_output // group, h * w))
        whole, _ = canvas(x, axes, windows)
        for i, j, seen in taps(whole, axes, windows):
            seen = seen.reshape(images, group, channels // group, h * w)
            y += weights[..., i, j] @ seen
        y = y.reshape(images, param.num_output, h, w)
        tops.append(add_bias(y, param.bias_term, params))
    return tops


def deconvolution(layer, bottoms, params, run):
    """N × C × h × w -> N × O × H × W; weights C × O/group × kernel, bias O."""
    param = layer.convolution_param
    group = param.group
    tops = []
    for x in bottoms:
        axes = convolution_axes(layer, x)
        images, channels, h, w = x.shape
        size = [axis.plane(n) for axis, n in zip(axes, (h, w), strict=True)]
        weights = params[0].reshape(
            group, channels // group, param.num_output // group, *kernel(axes)
        )
        values = x.reshape(images, group, channels // group, h * w)
        blank = np.zeros((images, param.num_output, *size))
        whole, y = canvas(blank, axes, (h, w))
        for i, j, reached in taps(whole, axes, (h, w)):
            sent = weights[..., i, j].transpose(0, 2, 1) @ values
            reached += sent.reshape(reached.shape)
        tops.append(add_bias(y, param.bias_term, params))
    return tops


def kernel(axes: Axes) -> tuple[int, int]:
    return axes[0].kernel, axes[1].kernel


def add_bias(y: np.ndarray, bias_term: bool, params: Arrays) -> np.ndarray:
    """y: N × O × ...; the bias, if there is one, is the second parameter."""
    return y + along(params[1].reshape(-1), y, 1) if bias_term else y.copy()


def along(values: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """`values`, shaped to be broadcast over x from `axis` on."""
    axis %= x.ndim
    after = x.ndim - axis - values.ndim
    return values.reshape((1,) * axis + values.shape + (1,) * after)


def inner_product(layer, bottoms, params, run):
    """before × K -> before × O, K all axes from `axis` on; weights O × K (transpose:
    K × O), bias O."""
    param = layer.inner_product_param
    (x,) = bottoms
    before = x.shape[: param.axis % x.ndim]
    rows = x.reshape(int(np.prod(before)), -1)
    if param.transpose:
        weights = params[0].reshape(rows.shape[1], param.num_output)
    else:
        weights = params[0].reshape(param.num_output, rows.shape[1]).T
    y = rows @ weights
    if param.bias_term:
        y += params[1].reshape(-1)
    return [y.reshape(*before, param.num_output)]


def batch_norm(layer, bottoms, params, run):
    """N × C × ... -> the same; parameters mean C, variance C, and the factor that both
    are too large by (one value)."""
    param = layer.batch_norm_param
    (x,) = bottoms
    if param.HasField("use_global_stats"):
        stored = param.use_global_stats
    else:
        stored = run.phase == caffe_pb2.TEST
    if stored:
        factor = params[2].item()
        scale = 0 if factor == 0 else 1 / factor
        mean, variance = params[0] * scale, params[1] * scale
    else:
        others = (0, *range(2, x.ndim))
        mean, variance = x.mean(others), x.var(others)
    return [(x - along(mean, x, 1)) / np.sqrt(along(variance, x, 1) + param.eps)]


def scale(layer, bottoms, params, run):
    """x times a second bottom, or times a parameter, of x's axes from `axis` on; plus
    the next parameter, of the same shape, with bias_term."""
    param = layer.scale_param
    x = bottoms[0]
    factor, rest = operand(param, bottoms, params)
    y = x * along(factor, x, param.axis)
    if param.bias_term:
        y += along(rest[0].reshape(factor.shape), x, param.axis)
    return [y]


def bias(layer, bottoms, params, run):
    """x plus a second bottom, or plus a parameter, of x's axes from `axis` on."""
    summand, _ = operand(layer.bias_param, bottoms, params)
    return [bottoms[0] + along(summand, bottoms[0], layer.bias_param.axis)]


def operand(param, bottoms: Arrays, params: Arrays) -> tuple[np.ndarray, Arrays]:
    """What Scale and Bias apply, in its shape; and the parameters that are left."""
    if len(bottoms) > 1:
        return bottoms[1], params
    x = bottoms[0]
    start = param.axis % x.ndim
    end = x.ndim if param.num_axes == -1 else start + param.num_axes
    return params[0].reshape(x.shape[start:end]), params[1:]


# Pooling and its inverse


def pooling(layer, bottoms, params, run):
    """N × C × H × W -> N × C × h × w; MAX: and the switches, y·W + x, as many."""
    param = layer.pooling_param
    (x,) = bottoms
    axes = pooling_axes(param, x.shape[2:])
    windows = pooled_size(param, axes, x.shape[2:])
    if param.pool == PoolingParameter.MAX:
        values, switches = max_pooling(x, axes, windows)
        run.choices.append(switches)
        return [values, switches]
    if param.pool == PoolingParameter.AVE:
        return [average_pooling(x, axes, windows)]
    raise ValueError(f"Layer {layer.name}: only MAX and AVE pooling are known.")


def max_pooling(
    x: np.ndarray, axes: Axes, windows: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and their places; the first of equals, −1 where nothing is in a window."""
    values = np.full((*x.shape[:2], *windows), -FLT_MAX)
    switches = np.full(values.shape, -1.0)
    rows, columns = (axis.starts(n) for axis, n in zip(axes, windows, strict=True))
    whole, _ = canvas(x, axes, windows, fill=-np.inf)
    for i, j, seen in taps(whole, axes, windows):
        places = (rows[:, None] + i) * x.shape[3] + columns + j
        larger = seen > values
        values = np.where(larger, seen, values)
        switches = np.where(larger, places, switches)
    return values, switches


def average_pooling(x: np.ndarray, axes: Axes, windows: tuple) -> np.ndarray:
    whole, _ = canvas(x, axes, windows)
    total = sum(seen for _, _, seen in taps(whole, axes, windows))
    return total / average_sizes(axes, x.shape[2:], windows)


def depooling(layer, bottoms, params, run):
    """Values N × C × h × w [, switches, as many] [, a blob of H × W] -> N × C × H × W,
    and how many values (AVE: windows) landed on each place."""
    param = layer.pooling_param
    values, *rest = bottoms
    has_switches = param.pool in (PoolingParameter.MAX, PoolingParameter.SWITCH)
    switches = rest.pop(0) if has_switches else None
    shape = rest.pop().shape[2:] if rest else None
    windows = values.shape[2:]
    axes = pooling_axes(param, shape)
    if shape is None:
        shape = tuple(axis.plane(n) for axis, n in zip(axes, windows, strict=True))
    elif pooled_size(param, axes, shape) != windows:
        raise ValueError(
            f"Layer {layer.name}: {pooled_size(param, axes, shape)} values pool from "
            f"{shape}; found {windows}."
        )
    if param.pool == PoolingParameter.AVE:
        return spread_evenly(values, axes, shape)
    if param.pool == PoolingParameter.FIX:
        switches = np.broadcast_to(
            fixed_places(param, axes, windows, shape), values.shape
        )
    elif not has_switches:
        raise ValueError(f"Layer {layer.name}: STOCHASTIC pooling can't be undone.")
    places = switches.astype(np.int64)
    if (places != switches).any() or ((places < 0) | (places >= np.prod(shape))).any():
        raise ValueError(f"Layer {layer.name}: not all switches are places of {shape}.")
    return [put(what, places, shape) for what in (values, np.ones_like(values))]


def put(values: np.ndarray, places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """N × C × h × w values, each added to its place of an empty N × C × H × W."""
    images, channels = values.shape[:2]
    planes = np.zeros((images * channels, shape[0] * shape[1]))
    plane = np.arange(images * channels)[:, None]
    flat = (images * channels, -1)
    np.add.at(planes, (plane, places.reshape(flat)), values.reshape(flat))
    return planes.reshape(images, channels, *shape)


def fixed_places(
    param: PoolingParameter, axes: Axes, windows: tuple, shape: tuple
) -> np.ndarray:
    """FIX: the place for each of h × w windows; the nearest that the plane has."""
    at = []
    for name, axis, count, size in zip("yx", axes, windows, shape, strict=True):
        own = param.HasField(f"fix_{name}")
        fix = getattr(param, f"fix_{name}") if own else param.fix
        fix = axis.kernel // 2 if fix == -1 else fix
        at.append(np.clip(axis.starts(count) + fix, 0, size - 1))
    return at[0][:, None] * shape[1] + at[1]


def spread_evenly(values: np.ndarray, axes: Axes, shape: tuple[int, int]) -> Arrays:
    """AVE: each value divided among its window; and how many windows cover a place."""
    windows = values.shape[2:]
    share = values / average_sizes(axes, shape, windows)
    tops = []
    for what in (share, np.ones_like(share)):
        blank = np.zeros((*values.shape[:2], *shape))
        whole, inside = canvas(blank, axes, windows)
        for _, _, reached in taps(whole, axes, windows):
            reached += what
        tops.append(inside.copy())
    return tops
