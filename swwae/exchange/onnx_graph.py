"""An ONNX model that grows by nodes, constants, inputs and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from caffe.proto import caffe_pb2
from onnx import ModelProto, TensorProto, helper

from generator.errors import UserError
from generator.layers import Shape
from swwae.exchange.built import Built
from swwae.nets.normalisation import Normalisation

LayerParameter = caffe_pb2.LayerParameter

OPSET = 18
"""ScatterElements adds since 16; sums and means have their axes as inputs since 18."""


@dataclass(frozen=True)
class Value:
    """What a blob holds after so many layers have written it."""

    blob: str
    version: int = 0


@dataclass
class Graph:
    """A model that grows by layers.

    names: value -> its name in ONNX. constants: names of initializers. scope: the layer
    that nodes are added for, with which their names begin.
    """

    source: Built
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

    # --- inputs and outputs

    def add_input(self, value: Value) -> None:
        """Adds an input of the model: an activation or switches."""
        self.names[value] = value.blob
        self.model.graph.input.append(self._described(value, value.blob))

    def add_image_input(self, pixels: Normalisation | None) -> None:
        """Adds the image: RGB in [0, 1], which the model normalises as `pixels` say;
        None: what the network takes."""
        blob = Value(self.source.image)
        if pixels is None:
            self.add_input(blob)
            return
        shape = self.source.shapes[blob.blob]
        self.model.graph.input.append(_described("image", TensorProto.FLOAT, shape))
        name = self._reversed("image") if pixels.bgr else "image"
        name = self.add("Sub", name, self._channels("mean", pixels.mean))
        std = self._channels("std", pixels.std)
        self.names[blob] = self.add("Div", name, std)

    def add_output(self, value: Value, name: str) -> None:
        """Adds an output of the model."""
        self.add("Identity", self.names[value], name=name)
        self.model.graph.output.append(self._described(value, name))

    def add_image_output(self, value: Value, pixels: Normalisation | None) -> None:
        """Adds the reconstruction: RGB in [0, 1], not clipped; None: as the network
        yields it, mean-subtracted."""
        if pixels is None:
            self.add_output(value, "reconstruction")
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

    # --- what converters use

    def add(self, operator: str, *inputs: str, name: str = "", **attributes) -> str:
        """Adds a node of one output, and returns that one's name."""
        return self.add_all(operator, inputs, [name or self._new(operator)], attributes)

    def add_all(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: dict,
    ) -> str:
        """Adds a node, and returns the name of its first output."""
        node = helper.make_node(operator, inputs, outputs, name=outputs[0])
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.model.graph.node.append(node)
        return outputs[0]

    def _new(self, operator: str) -> str:
        return f"{self.scope}/{operator}:{len(self.model.graph.node)}"

    def constant(self, name: str, values: np.ndarray) -> str:
        """Adds an initializer, and returns its name; the same name means the same
        values."""
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
        """Returns the name of a constant vector, int64."""
        return self.constant(
            f"int64[{','.join(map(str, values))}]", np.array(values, np.int64)
        )

    def number(self, value: float) -> str:
        """Returns the name of a constant, float32."""
        return self.constant(f"float[{float(value)!r}]", np.array(value, np.float32))

    def parameters(self, layer: LayerParameter, *names: str) -> list[str]:
        """Returns the names of a layer's parameters, as initializers; fewer than
        `names` where it has fewer."""
        pairs = zip(names, self.source.parameters[layer.name], strict=False)
        return [self.constant(f"{layer.name}.{name}", blob) for name, blob in pairs]

    def shape(self, blob: str) -> Shape:
        """Returns a blob's shape, batch included."""
        return self.source.shapes[blob]


def _described(name: str, kind: int, shape: Shape):
    return helper.make_tensor_value_info(name, kind, ["batch", *shape[1:]])


def refused(layer: LayerParameter, why: str) -> UserError:
    """Returns the error that a layer cannot be exported."""
    return UserError(f"layer {layer.name} ({layer.type}) {why}: not exported to ONNX.")
