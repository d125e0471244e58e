"""Pooling and unpooling as ONNX operators."""

from collections.abc import Sequence
from math import prod

import numpy as np
from caffe.proto import caffe_pb2
from onnx import TensorProto, helper

from generator.layers import Shape
from generator.shapes import Window
from swwae.exchange.onnx_graph import Graph, LayerParameter, refused
from swwae.nets.deployed import window

_SWITCH = caffe_pb2.PoolingParameter.PoolMethod.Value("SWITCH")


def by_switches(layer: LayerParameter) -> bool:
    """Tells whether a Depooling layer reads switches."""
    return layer.pooling_param.pool in (caffe_pb2.PoolingParameter.MAX, _SWITCH)


def _end_padding(
    shape: Window, plane: Sequence[int], windows: Sequence[int]
) -> list[int]:
    """Padding behind the last pixel with which ONNX, rounding down, has Caffe's
    windows."""
    sizes = zip(shape.kernel, shape.stride, shape.pad, plane, windows, strict=True)
    return [
        max(0, (count - 1) * s + k - p - length) for k, s, p, length, count in sizes
    ]


def _window_sizes(
    shape: Window, plane: Sequence[int], windows: Sequence[int]
) -> np.ndarray:
    """(height, width) of the divisors of Caffe's means: what lies beyond the padding is
    not counted."""
    sides = []
    for axis in (0, 1):
        starts = np.arange(windows[axis]) * shape.stride[axis]
        left = plane[axis] + 2 * shape.pad[axis] - starts
        sides.append(np.minimum(shape.kernel[axis], left))
    return np.outer(*sides).astype(np.float32)


def _pooling_shape(graph: Graph, layer: LayerParameter) -> Window:
    """UserError for windows outside the plane, which ONNX cannot have."""
    plane, windows = (graph.shape(b)[1:] for b in (layer.bottom[0], layer.top[0]))
    shape = window(layer, plane)
    for count, s, p, n in zip(
        windows[1:], shape.stride, shape.pad, plane[1:], strict=True
    ):
        if (count - 1) * s - p >= n:
            raise refused(layer, "has a last window that lies outside its plane")
    return shape


def pooling(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str | list[str]:
    """Adds a Pooling layer; returns its top, or values and switches."""
    method = layer.pooling_param.pool
    shape = _pooling_shape(graph, layer)
    plane, windows = graph.shape(layer.bottom[0])[2:], graph.shape(layer.top[0])[2:]
    attributes = {
        "kernel_shape": shape.kernel,
        "strides": shape.stride,
        "pads": [*shape.pad, *_end_padding(shape, plane, windows)],
    }
    if method == caffe_pb2.PoolingParameter.MAX:
        if len(layer.top) == 1:
            return graph.add("MaxPool", bottoms[0], **attributes)
        outputs = [f"{top}:max" for top in layer.top]
        graph.add_all("MaxPool", bottoms, outputs, attributes)
        # ONNX counts through all planes of the batch, Caffe in each anew
        places = graph.integers(prod(plane))
        return [outputs[0], graph.add("Mod", outputs[1], places)]
    if method != caffe_pb2.PoolingParameter.AVE:
        raise refused(layer, "pools at random")
    name = graph.add("AveragePool", bottoms[0], count_include_pad=1, **attributes)
    factors = prod(shape.kernel) / _window_sizes(shape, plane, windows)
    if (factors == 1).all():
        return name
    factors = graph.constant(f"{layer.name}.factors", factors.astype(np.float32))
    return graph.add("Mul", name, factors)


def depooling(
    graph: Graph, layer: LayerParameter, bottoms: list[str]
) -> str | list[str]:
    """Adds a Depooling layer; returns the values and, of two tops, how many landed on
    each place."""
    below, above = graph.shape(layer.bottom[0]), graph.shape(layer.top[0])
    shape = window(layer, above[1:])
    if layer.pooling_param.pool == caffe_pb2.PoolingParameter.AVE:
        return _spread(graph, layer, bottoms[0], shape)
    channels, places, plane = below[1], prod(below[2:]), prod(above[2:])
    flat = graph.integers(0, channels, places)
    values = graph.add("Reshape", bottoms[0], flat)
    flat_shape = graph.add("Shape", values)
    if by_switches(layer):
        switches = graph.add("Reshape", bottoms[1], flat)
    else:
        fixed = _fixed_places(layer, shape, below[2:], above[2:]).reshape(1, 1, -1)
        fixed = graph.constant(f"{layer.name}.places", fixed)
        switches = graph.add("Expand", fixed, flat_shape)
    batch = graph.add("Slice", flat_shape, graph.integers(0), graph.integers(1))
    whole = graph.add("Concat", batch, graph.integers(channels, plane), axis=0)
    zeros = graph.add("ConstantOfShape", whole)
    ones = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    added = [values]
    if len(layer.top) > 1:
        added.append(graph.add("ConstantOfShape", flat_shape, value=ones))
    unflat = graph.integers(0, *above[1:])
    result = []
    for what in added:
        landed = graph.add(
            "ScatterElements", zeros, switches, what, axis=2, reduction="add"
        )
        result.append(graph.add("Reshape", landed, unflat))
    return result


def _fixed_places(
    layer: LayerParameter, shape: Window, windows: Shape, plane: Shape
) -> np.ndarray:
    """int64 (h, w): the place of each window's value; the nearest that is left where
    the plane's edge cuts the window off."""
    param = layer.pooling_param
    axes = []
    for axis, name in ((0, "fix_y"), (1, "fix_x")):
        fixed = getattr(param, name) if param.HasField(name) else param.fix
        fixed = shape.kernel[axis] // 2 if fixed == -1 else fixed
        starts = np.arange(windows[axis]) * shape.stride[axis] - shape.pad[axis]
        ends = np.minimum(starts + shape.kernel[axis], plane[axis])
        axes.append(np.clip(starts + fixed, np.maximum(starts, 0), ends - 1))
    return np.add.outer(axes[0] * plane[1], axes[1]).astype(np.int64)


def _spread(
    graph: Graph, layer: LayerParameter, values: str, shape: Window
) -> list[str]:
    """Returns every value over its window, evenly, where windows overlap summed."""
    below, above = graph.shape(layer.bottom[0]), graph.shape(layer.top[0])
    sizes = _window_sizes(shape, above[2:], below[2:])
    sizes = graph.constant(f"{layer.name}.sizes", sizes)
    ones = graph.constant(
        f"{layer.name}.ones", np.ones((below[1], 1, *shape.kernel), np.float32)
    )
    ends = _end_padding(shape, above[2:], below[2:])
    reach = shape.deconvolved(below[2:])
    short = [
        max(0, length - (whole + begin - end))
        for length, whole, begin, end in zip(
            above[2:], reach, shape.pad, ends, strict=True
        )
    ]

    def laid_out(what: str) -> str:
        return graph.add(
            "ConvTranspose",
            what,
            ones,
            kernel_shape=shape.kernel,
            strides=shape.stride,
            pads=[*shape.pad, *ends],
            output_padding=short,
            group=below[1],
        )

    result = [laid_out(graph.add("Div", values, sizes))]
    if len(layer.top) > 1:
        one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
        shape_of = graph.add("Shape", values)
        result.append(laid_out(graph.add("ConstantOfShape", shape_of, value=one)))
    return result


def safe_inverse(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    """Adds 1/x that is 0 at 0."""
    zero = graph.number(0)
    is_zero = graph.add("Equal", bottoms[0], zero)
    return graph.add("Where", is_zero, zero, graph.add("Reciprocal", bottoms[0]))
