"""Caffe's layers as ONNX operators: a deploy network, or a part of it, as a model.

Sizes are those of the deploy file; the batch is free. Caffe's and ONNX's layers agree
but for this (both sides' definitions, the rest is ours):

    Pooling      Caffe rounds up; the padding behind the last pixel is given such that
                 ONNX, rounding down, has the same windows. Caffe's means count padding,
                 but not what lies beyond it: a factor a place
    switches     a place's index in its plane, as Caffe's, int64; where values are equal
                 but for rounding, as in plain parts of an image, another may be chosen
    Depooling    ScatterElements that adds, on zeros: values that meet sum. AVE is a
                 transposed convolution with ones
    SafeInv      Reciprocal, and 0 at 0
    BatchNorm    statistics by their factor
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from caffe.proto import caffe_pb2
from onnx import ModelProto, TensorProto, helper

from generator.errors import UserError
from generator.layers import Shape
from generator.names import is_decoder
from generator.shapes import Window
from swwae.nets.deployed import window
from swwae.nets.normalisation import Normalisation

OPSET = 18
"""ScatterElements adds since 16; sums and means have their axes as inputs since 18."""


LayerParameter = caffe_pb2.LayerParameter


@dataclass(frozen=True)
class Source:
    """A network that Caffe has built. layers: that it runs, without inputs; shapes: of
    its blobs, batch included; parameters: of its layers."""

    layers: Sequence[LayerParameter]
    shapes: dict[str, Shape]
    parameters: dict[str, Sequence[np.ndarray]]
    image: str
    probabilities: str
    reconstruction: str | None


def model(source: Source, part: str, pixels: Normalisation | None) -> ModelProto:
    """The model of a part: encoder, decoder or both.

    pixels: how the network's images are normalised, so that the model takes and yields
    RGB in [0, 1]; None: it takes what the network itself does, and yields dec:data.
    encoder: image -> probabilities and what the decoder reads. decoder: that -> the
    reconstruction. both: image -> probabilities, reconstruction. Raises UserError where
    a layer has no counterpart.
    """
    steps = _steps(source.layers)
    probabilities = _last(steps, source.probabilities)
    ends = [] if part == "decoder" else [probabilities]
    decoding: list[Step] = []
    between: list[Value] = []
    if source.reconstruction is not None:
        reconstruction = _last(steps, source.reconstruction)
        decoding = [
            step
            for step in _needed(steps, [reconstruction])
            if is_decoder(step.layer.name)
        ]
        made = {value for step in decoding for value in step.tops}
        read = [value for step in decoding for value in step.read]
        between = [value for value in dict.fromkeys(read) if value not in made]
        if part == "encoder":
            given = {Value(source.image)} if pixels is None else set()
            ends += [value for value in between if value not in given]
        else:
            ends.append(reconstruction)
    graph = Graph(source)
    if part == "decoder":
        steps = decoding
        for value in between:
            graph.take(value)
    else:
        steps = _needed(steps, ends)
        graph.take_image(pixels)
    for step in steps:
        graph.convert(step)
    for value in ends:
        if value == probabilities:
            graph.give(value, "probabilities")
        elif value in between:
            graph.give(value, value.blob)
        else:
            graph.give_image(value, pixels)
    return graph.model


# --- which layers, and what they read


@dataclass(frozen=True)
class Value:
    """What a blob holds after so many layers have written it."""

    blob: str
    version: int = 0


@dataclass(frozen=True)
class Step:
    """A layer with its values. read: those whose numbers matter, not their shape."""

    layer: LayerParameter
    bottoms: tuple[Value, ...]
    tops: tuple[Value, ...]

    @property
    def read(self) -> tuple[Value, ...]:
        if self.layer.type == "Crop":
            return self.bottoms[:1]
        if self.layer.type == "Depooling":
            return self.bottoms[: 2 if _by_switches(self.layer) else 1]
        return self.bottoms


def _by_switches(layer: LayerParameter) -> bool:
    return layer.pooling_param.pool in (caffe_pb2.PoolingParameter.MAX, _SWITCH)


_SWITCH = caffe_pb2.PoolingParameter.PoolMethod.Value("SWITCH")


def _steps(layers: Iterable[LayerParameter]) -> list[Step]:
    """Layers that work in place told apart by versions of their blob."""
    versions: dict[str, int] = {}
    steps = []
    for layer in layers:
        bottoms = tuple(Value(blob, versions.get(blob, 0)) for blob in layer.bottom)
        for top in layer.top:
            rewritten = top in versions or top in layer.bottom
            versions[top] = versions.get(top, 0) + rewritten
        tops = tuple(Value(blob, versions[blob]) for blob in layer.top)
        steps.append(Step(layer, bottoms, tops))
    return steps


def _last(steps: Sequence[Step], blob: str) -> Value:
    return [value for step in steps for value in step.tops if value.blob == blob][-1]


def _needed(steps: Sequence[Step], ends: Iterable[Value]) -> list[Step]:
    """The steps that the ends depend on, in order."""
    wanted = set(ends)
    kept = []
    for step in reversed(steps):
        if wanted.intersection(step.tops):
            kept.append(step)
            wanted.update(step.read)
    return kept[::-1]


# --- the graph


@dataclass
class Graph:
    """A model that grows by layers.

    names: value -> its name in ONNX. constants: names of initializers. scope: the layer
    that nodes are added for.
    """

    source: Source
    names: dict[Value, str] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    scope: str = "image"
    model: ModelProto = field(default_factory=ModelProto)

    def __post_init__(self) -> None:
        opset = helper.make_opsetid("", OPSET)
        self.model.opset_import.append(opset)
        self.model.ir_version = helper.find_min_ir_version_for([opset])
        self.model.producer_name = "swwae-caffe"
        self.model.graph.name = "swwae"

    # inputs and outputs

    def take(self, value: Value) -> None:
        """An input of the model: an activation or switches."""
        self.names[value] = value.blob
        self.model.graph.input.append(self._described(value, value.blob))

    def take_image(self, pixels: Normalisation | None) -> None:
        blob = Value(self.source.image)
        if pixels is None:
            self.take(blob)
            return
        shape = self.source.shapes[blob.blob]
        self.model.graph.input.append(_described("image", TensorProto.FLOAT, shape))
        name = self._reversed("image") if pixels.bgr else "image"
        name = self.add("Sub", name, self._channels("mean", pixels.mean))
        std = self._channels("std", pixels.std)
        self.names[blob] = self.add("Div", name, std)

    def give(self, value: Value, name: str) -> None:
        """An output of the model."""
        self.add("Identity", self.names[value], name=name)
        self.model.graph.output.append(self._described(value, name))

    def give_image(self, value: Value, pixels: Normalisation | None) -> None:
        """The reconstruction, which is mean-subtracted in units of [0, 1]."""
        if pixels is None:
            self.give(value, "reconstruction")
            return
        mean = self._channels("mean", pixels.mean)
        name = self.add("Add", self.names[value], mean)
        name = self._reversed(name) if pixels.bgr else name
        self.add("Identity", name, name="reconstruction")
        shape = self.source.shapes[value.blob]
        described = _described("reconstruction", TensorProto.FLOAT, shape)
        self.model.graph.output.append(described)

    def _reversed(self, name: str) -> str:
        channels = self.constant("channels", np.array([2, 1, 0], np.int64))
        return self.add("Gather", name, channels, axis=1)

    def _channels(self, name: str, values: Sequence[float]) -> str:
        """Constants of one number a channel."""
        return self.constant(name, np.float32(values).reshape(1, -1, 1, 1))

    def _described(self, value: Value, name: str):
        """Switches are what a second top of a pooling holds."""
        tops = [layer.top for layer in self.source.layers if layer.type == "Pooling"]
        switches = any(value.blob in top[1:] for top in tops)
        kind = TensorProto.INT64 if switches else TensorProto.FLOAT
        return _described(name, kind, self.source.shapes[value.blob])

    # what converters use

    def convert(self, step: Step) -> None:
        """Adds a layer; UserError where it has no counterpart."""
        layer = step.layer
        converter = CONVERTERS.get(layer.type)
        if converter is None:
            raise UserError(
                f"layer {layer.name} is of type {layer.type}, which is not exported to"
                " ONNX."
            )
        self.scope = layer.name
        bottoms = [self.names.get(value, "") for value in step.bottoms]
        tops = converter(self, layer, bottoms)
        if isinstance(tops, str):
            tops = [tops]
        self.names.update(zip(step.tops, tops, strict=False))

    def add(self, operator: str, *inputs: str, name: str = "", **attributes) -> str:
        """A node of one output, whose name is returned."""
        return self.add_all(operator, inputs, [name or self._new(operator)], attributes)

    def add_all(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: dict,
    ) -> str:
        node = helper.make_node(operator, inputs, outputs, name=outputs[0])
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.model.graph.node.append(node)
        return outputs[0]

    def _new(self, operator: str) -> str:
        return f"{self.scope}/{operator}:{len(self.model.graph.node)}"

    def constant(self, name: str, values: np.ndarray) -> str:
        """An initializer; the same name means the same values."""
        if name not in self.constants:
            self.constants.add(name)
            tensor = self.model.graph.initializer.add()  # in place: it may be large
            tensor.name, tensor.dims[:] = name, values.shape
            tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
            tensor.raw_data = values.astype(
                values.dtype.newbyteorder("<"), copy=False
            ).tobytes()
        return name

    def integers(self, *values: int) -> str:
        return self.constant(
            f"int64[{','.join(map(str, values))}]", np.array(values, np.int64)
        )

    def number(self, value: float) -> str:
        return self.constant(f"float[{float(value)!r}]", np.array(value, np.float32))

    def parameters(self, layer: LayerParameter, *names: str) -> list[str]:
        """A layer's own, as initializers of these names; fewer where it has fewer."""
        own = self.source.parameters[layer.name]
        pairs = zip(names, own, strict=False)
        return [self.constant(f"{layer.name}.{name}", blob) for name, blob in pairs]

    def shape(self, blob: str) -> Shape:
        return self.source.shapes[blob]


def _described(name: str, kind: int, shape: Shape):
    return helper.make_tensor_value_info(name, kind, ["batch", *shape[1:]])


# --- layers, by type: (graph, layer, names of what it reads) -> name(s) of its tops

Converter = Callable[[Graph, LayerParameter, list[str]], str | list[str]]


def _refused(layer: LayerParameter, why: str) -> UserError:
    return UserError(f"layer {layer.name} ({layer.type}) {why}: not exported to ONNX.")


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
        raise _refused(layer, f"has axis: {param.axis}")
    if len(graph.shape(layer.bottom[0])) != 2:
        name = graph.add("Flatten", name, axis=1)
    parameters = graph.parameters(layer, "weight", "bias")
    return graph.add("Gemm", name, *parameters, transB=int(not param.transpose))


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
            raise _refused(layer, "has a last window that lies outside its plane")
    return shape


def _pooling(
    graph: Graph, layer: LayerParameter, bottoms: list[str]
) -> str | list[str]:
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
        raise _refused(layer, "pools at random")
    name = graph.add("AveragePool", bottoms[0], count_include_pad=1, **attributes)
    factors = prod(shape.kernel) / _window_sizes(shape, plane, windows)
    if (factors == 1).all():
        return name
    factors = graph.constant(f"{layer.name}.factors", factors.astype(np.float32))
    return graph.add("Mul", name, factors)


def _depooling(
    graph: Graph, layer: LayerParameter, bottoms: list[str]
) -> str | list[str]:
    below, above = graph.shape(layer.bottom[0]), graph.shape(layer.top[0])
    shape = window(layer, above[1:])
    if layer.pooling_param.pool == caffe_pb2.PoolingParameter.AVE:
        return _spread(graph, layer, bottoms[0], shape)
    channels, places, plane = below[1], prod(below[2:]), prod(above[2:])
    flat = graph.integers(0, channels, places)
    values = graph.add("Reshape", bottoms[0], flat)
    flat_shape = graph.add("Shape", values)
    if _by_switches(layer):
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
    for axis, own in ((0, "fix_y"), (1, "fix_x")):
        fixed = getattr(param, own) if param.HasField(own) else param.fix
        fixed = shape.kernel[axis] // 2 if fixed == -1 else fixed
        starts = np.arange(windows[axis]) * shape.stride[axis] - shape.pad[axis]
        ends = np.minimum(starts + shape.kernel[axis], plane[axis])
        axes.append(np.clip(starts + fixed, np.maximum(starts, 0), ends - 1))
    return np.add.outer(axes[0] * plane[1], axes[1]).astype(np.int64)


def _spread(
    graph: Graph, layer: LayerParameter, values: str, shape: Window
) -> list[str]:
    """Every value over its window, evenly, where windows overlap summed."""
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


def _safe_inverse(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    zero = graph.number(0)
    is_zero = graph.add("Equal", bottoms[0], zero)
    return graph.add("Where", is_zero, zero, graph.add("Reciprocal", bottoms[0]))


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
        raise _refused(layer, "normalises by the batch's own statistics")
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
    """The second operand of a Scale or Bias, of the first one's axes from `axis` on:
    another blob, or a parameter."""
    axes = len(graph.shape(layer.bottom[0]))
    axis = axis % axes
    if len(bottoms) > 1 and index == 0:
        given = len(graph.shape(layer.bottom[1]))
        behind = axes - axis - given
        if not behind:
            return bottoms[1]
        behind = graph.integers(*range(given, given + behind))
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
        raise _refused(layer, "normalises within channels")
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
        raise _refused(layer, "flattens other axes than all of an image's")
    return graph.add("Flatten", bottoms[0], axis=1)


def _reshape(graph: Graph, layer: LayerParameter, bottoms: list[str]) -> str:
    below, above = graph.shape(layer.bottom[0]), graph.shape(layer.top[0])
    if above[0] != below[0]:
        raise _refused(layer, "changes the batch")
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
    "Pooling": _pooling,
    "Depooling": _depooling,
    "SafeInv": _safe_inverse,
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
