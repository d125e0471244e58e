"""Caffe's layers as ONNX operators, by type; of the test phase."""

from collections.abc import Callable

import numpy as np
from caffe.proto import caffe_pb2

from swwae.exchange.onnx_graph import Graph, LayerParameter, refused
from swwae.exchange.onnx_pooling import depooling, pooling, safe_inverse
from swwae.nets.deployed import window

Converter = Callable[[Graph, LayerParameter, list[str]], str | list[str]]
"""Adds a layer, given the names of what it reads; returns the name(s) of its tops."""


def _convolution(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param, shape = layer.convolution_param, window(layer)
    operator = "Conv" if layer.type == "Convolution" else "ConvTranspose"
    return graph.add(
        operator,
        bottoms[0],
        *graph.parameters(layer, "weight", "bias"),
        kernel_shape=shape.kernel,
        strides=shape.stride,
        dilations=shape.dilation,
        pads=shape.pad * 2,
        group=param.group,
    )


def _inner_product(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param, name = layer.inner_product_param, bottoms[0]
    if param.axis != 1:
        raise refused(layer, f"has axis: {param.axis}")
    if len(graph.shape(layer.bottom[0])) != 2:
        name = graph.add("Flatten", name, axis=1)
    parameters = graph.parameters(layer, "weight", "bias")
    return graph.add("Gemm", name, *parameters, transB=int(not param.transpose))


def _eltwise(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.eltwise_param
    operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(param.operation)
    if operation == "SUM" and param.coeff:
        bottoms = [
            name if factor == 1 else graph.add("Mul", name, graph.number(factor))
            for name, factor in zip(bottoms, param.coeff, strict=True)
        ]
    operator = {"PROD": "Mul", "SUM": "Add", "MAX": "Max"}[operation]
    result = bottoms[0]
    for name in bottoms[1:]:
        result = graph.add(operator, result, name)
    return result


def _relu(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    slope = layer.relu_param.negative_slope
    if slope:
        return graph.add("LeakyRelu", bottoms[0], alpha=slope)
    return graph.add("Relu", bottoms[0])


def _elementwise(operator: str) -> Converter:
    def convert(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
        return graph.add(operator, bottoms[0])

    return convert


def _elu(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    return graph.add("Elu", bottoms[0], alpha=layer.elu_param.alpha)


def _prelu(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    slopes = graph.source.parameters[layer.name][0]
    axes = len(graph.shape(layer.bottom[0]))
    slopes = slopes.reshape(-1, *(1,) * (axes - 2))
    return graph.add("PRelu", bottoms[0], graph.constant(f"{layer.name}.slope", slopes))


def _power(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param, name = layer.power_param, bottoms[0]
    if param.scale != 1:
        name = graph.add("Mul", name, graph.number(param.scale))
    if param.shift:
        name = graph.add("Add", name, graph.number(param.shift))
    if param.power != 1:
        name = graph.add("Pow", name, graph.number(param.power))
    return name


def _batch_norm(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        raise refused(layer, "normalises by the batch's own statistics")
    mean, variance, factor = graph.source.parameters[layer.name]
    factor = float(factor.ravel()[0])
    factor = np.float32(1 / factor if factor else 0)
    return graph.add(
        "BatchNormalization",
        bottoms[0],
        graph.constant(f"{layer.name}.scale", np.ones_like(mean)),
        graph.constant(f"{layer.name}.bias", np.zeros_like(mean)),
        graph.constant(f"{layer.name}.mean", mean * factor),
        graph.constant(f"{layer.name}.variance", variance * factor),
        epsilon=param.eps,
    )


def _aligned(
    graph: Graph, layer: LayerParameter, bottoms: list[str], index: int, axis: int
) -> str:
    """Returns the second operand of a Scale or Bias, of the first one's axes from
    `axis` on: another blob, or a parameter."""
    axes = len(graph.shape(layer.bottom[0]))
    axis = axis % axes
    if len(bottoms) > 1 and index == 0:
        present = len(graph.shape(layer.bottom[1]))
        behind = axes - axis - present
        if not behind:
            return bottoms[1]
        behind = graph.integers(*range(present, present + behind))
        return graph.add("Unsqueeze", bottoms[1], behind)
    values = graph.source.parameters[layer.name][index - (len(bottoms) > 1)]
    values = values.reshape(*values.shape, *(1,) * (axes - axis - values.ndim))
    return graph.constant(f"{layer.name}.{index}", values)


def _scale(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.scale_param
    factors = _aligned(graph, layer, bottoms, 0, param.axis)
    name = graph.add("Mul", bottoms[0], factors)
    if not param.bias_term:
        return name
    return graph.add("Add", name, _aligned(graph, layer, bottoms, 1, param.axis))


def _bias(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    terms = _aligned(graph, layer, bottoms, 0, layer.bias_param.axis)
    return graph.add("Add", bottoms[0], terms)


def _lrn(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.lrn_param
    if param.norm_region == caffe_pb2.LRNParameter.WITHIN_CHANNEL:
        raise refused(layer, "normalises within channels")
    return graph.add(
        "LRN",
        bottoms[0],
        size=param.local_size,
        alpha=param.alpha,
        beta=param.beta,
        bias=param.k,
    )


def _mvn(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param, name = layer.mvn_param, bottoms[0]
    axes = len(graph.shape(layer.bottom[0]))
    over = graph.integers(*range(1 if param.across_channels else 2, axes))
    name = graph.add("Sub", name, graph.add("ReduceMean", name, over))
    if not param.normalize_variance:
        return name
    variance = graph.add("ReduceMean", graph.add("Mul", name, name), over)
    deviation = graph.add("Sqrt", variance)
    return graph.add("Div", name, graph.add("Add", deviation, graph.number(param.eps)))


def _flatten(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.flatten_param
    if param.axis != 1 or param.end_axis != -1:
        raise refused(layer, "flattens other axes than all of an image's")
    return graph.add("Flatten", bottoms[0], axis=1)


def _reshape(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    below, above = graph.shape(layer.bottom[0]), graph.shape(layer.top[0])
    if above[0] != below[0]:
        raise refused(layer, "changes the batch")
    return graph.add("Reshape", bottoms[0], graph.integers(0, *above[1:]))


def _softmax(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    return graph.add("Softmax", bottoms[0], axis=layer.softmax_param.axis)


def _concat(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    return graph.add("Concat", *bottoms, axis=axis)


def _crop(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    param = layer.crop_param
    wanted = graph.shape(layer.top[0])
    axes = range(param.axis % len(wanted), len(wanted))
    offsets = list(param.offset) or [0]
    offsets = offsets if len(offsets) > 1 else offsets * len(axes)
    ends = [offset + wanted[axis] for offset, axis in zip(offsets, axes, strict=True)]
    parts = (offsets, ends, axes)
    return graph.add("Slice", bottoms[0], *(graph.integers(*part) for part in parts))


def _unchanged(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    return bottoms[0]


CONVERTERS: dict[str, Converter] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": pooling,
    "Depooling": depooling,
    "SafeInv": safe_inverse,
    "Eltwise": _eltwise,
    "ReLU": _relu,
    "PReLU": _prelu,
    "ELU": _elu,
    "Sigmoid": _elementwise("Sigmoid"),
    "TanH": _elementwise("Tanh"),
    "BNLL": _elementwise("Softplus"),
    "Power": _power,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _bias,
    "LRN": _lrn,
    "MVN": _mvn,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Concat": _concat,
    "Crop": _crop,
    "Dropout": _unchanged,
    "GaussianNoise": _unchanged,
}
"""Layers of the test phase, in which dropout and noise do nothing."""
