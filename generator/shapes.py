"""What Caffe's layers make of a shape, and the shapes of their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod

from .layers import Fields, Layer, Shape, as_list

MAX_INT = 2**31 - 1
"""What Caffe can count to."""

MAX_WINDOW = 2**15
"""The side of a pooling window larger than its plane, at most (ours)."""

MAX_COUNT = 2**31 - 1
"""Caffe counts the numbers in a blob with an int."""


class ShapeError(ValueError):
    """Why a layer cannot be applied to a shape: the end of a sentence."""


@dataclass(frozen=True)
class Window:
    """What a convolution or pooling looks at: (height, width) of each, in pixels."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def extent(self) -> tuple[int, int]:
        """From the first to the last pixel that is looked at."""
        pairs = zip(self.kernel, self.dilation, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in pairs)

    @property
    def overlaps(self) -> bool:
        return any(k > s for k, s in zip(self.kernel, self.stride, strict=True))

    def convolved(self, plane: Shape) -> Shape:
        """Returns (height, width) after a convolution, which rounds down."""
        return tuple(
            (length + 2 * pad - extent) // stride + 1
            for length, pad, extent, stride in zip(
                plane, self.pad, self.extent, self.stride, strict=True
            )
        )

    def deconvolved(self, plane: Shape) -> Shape:
        """Returns (height, width) after a deconvolution."""
        return tuple(
            (length - 1) * stride + extent - 2 * pad
            for length, pad, extent, stride in zip(
                plane, self.pad, self.extent, self.stride, strict=True
            )
        )

    def pooled(self, plane: Shape, floor: bool = False) -> Shape:
        """Returns (height, width) after a pooling, which rounds up unless told
        otherwise.

        A last window that would begin in the padding is dropped, from planes that
        have any.
        """
        sizes = []
        for length, pad, kernel, stride in zip(
            plane, self.pad, self.kernel, self.stride, strict=True
        ):
            steps = (length + 2 * pad - kernel) / stride
            count = (int(steps // 1) if floor else ceil(steps)) + 1
            if any(self.pad) and (count - 1) * stride >= length + pad:
                count -= 1
            sizes.append(count)
        return tuple(sizes)


def convolution_window(layer: Layer) -> Window:
    """Returns the window of a Convolution or Deconvolution; raises ShapeError where it
    is not planar."""
    fields = layer.fields.get("convolution_param", {})
    if fields.get("axis", 1) != 1:
        raise ShapeError(f"has axis: {fields['axis']} (only 1 can be mirrored)")
    return _checked(
        Window(
            _pair(fields, "kernel_size", "kernel_h", "kernel_w", None),
            _pair(fields, "stride", "stride_h", "stride_w", 1),
            _pair(_whole_pad(fields), "pad", "pad_h", "pad_w", 0),
            _pair(fields, "dilation", None, None, 1),
        )
    )


def pooling_window(layer: Layer, shape: Shape) -> Window:
    """Returns the window of a Pooling on a shape, which matters where it is global."""
    fields = layer.fields.get("pooling_param", {})
    if len(shape) != 3:
        raise ShapeError(f"needs channels, height and width; it gets {shape}")
    whole = fields.get("global_pooling", False)
    if whole and {"kernel_size", "kernel_h", "kernel_w"} & fields.keys():
        raise ShapeError("is global, but has a window")
    stride = _pair(fields, "stride", "stride_h", "stride_w", 1)
    pad = _pair(fields, "pad", "pad_h", "pad_w", 0)
    if whole and (stride != (1, 1) or pad != (0, 0)):
        raise ShapeError("is global, but has a stride or padding")
    kernel = shape[1:]
    if not whole:
        kernel = _pair(fields, "kernel_size", "kernel_h", "kernel_w", None)
    return _checked(Window(kernel, stride, pad))


def _whole_pad(fields: Fields) -> Fields:
    """Of a convolution, which pads one side alone where it is told no more."""
    if {"pad_h", "pad_w"} & fields.keys():
        return {"pad_h": 0, "pad_w": 0} | fields
    return fields


def _pair(
    fields: Fields, both: str, high: str | None, wide: str | None, default: int | None
) -> tuple[int, int]:
    values = as_list(fields.get(both))
    sides = [fields[side] for side in (high, wide) if side in fields]
    if sides and (values or len(sides) != 2):
        raise ShapeError(f"needs either {both} or both {high} and {wide}")
    values = values or sides
    if not values and default is not None:
        values = [default]
    if len(values) not in (1, 2):
        found = f"{len(values)} values" if values else "none"
        raise ShapeError(f"needs a {both} of one or two values; it has {found}")
    return (values[0], values[-1])


def _checked(window: Window) -> Window:
    if min(*window.kernel, *window.stride, *window.dilation) < 1:
        raise ShapeError("has a kernel, stride or dilation of 0")
    if max(*window.kernel, *window.stride, *window.dilation, *window.pad) > MAX_INT:
        raise ShapeError(f"has a kernel, stride, dilation or pad above {MAX_INT:,}")
    return window


def inferred(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    """Returns the shape of the layer's first top, and of its parameters.

    shape: of its bottom. Raises ShapeError where Caffe would refuse, and for types
    that this module does not know (KNOWN).
    """
    top, blobs = KNOWN[layer.type](layer, shape)
    if not top or min(top) < 1:
        raise ShapeError(f"makes {top} of {shape}: nothing is left")
    for blob in (top, *blobs):
        if prod(blob) > MAX_COUNT:
            raise ShapeError(
                f"needs a blob of {prod(blob):,} numbers; Caffe counts to {MAX_COUNT:,}"
            )
    return top, blobs


def _convolution(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("convolution_param", {})
    if len(shape) != 3:
        raise ShapeError(f"needs channels, height and width; it gets {shape}")
    window, group = convolution_window(layer), fields.get("group", 1)
    outputs = fields.get("num_output", 0)
    if outputs < 1 or group < 1:
        raise ShapeError("needs a num_output and a group of at least 1")
    if shape[0] % group or outputs % group:
        raise ShapeError(
            f"has {group} groups, which divide not both {shape[0]} and {outputs}"
        )
    if layer.type == "Convolution":
        plane = window.convolved(shape[1:])
        weights = (outputs, shape[0] // group, *window.kernel)
    else:
        plane = window.deconvolved(shape[1:])
        weights = (shape[0], outputs // group, *window.kernel)
    return (outputs, *plane), (weights, (outputs,))[: 1 + fields.get("bias_term", True)]


def _inner_product(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("inner_product_param", {})
    outputs = fields.get("num_output", 0)
    if outputs < 1:
        raise ShapeError("needs a num_output of at least 1")
    if fields.get("axis", 1) != 1:
        raise ShapeError(f"has axis: {fields['axis']} (only 1 can be mirrored)")
    weights = (outputs, prod(shape))
    if fields.get("transpose"):
        weights = weights[::-1]
    blobs = (weights, (outputs,))[: 1 + fields.get("bias_term", True)]
    return (outputs,), blobs


def _pooling(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("pooling_param", {})
    window = pooling_window(layer, shape)
    if any(p >= k for p, k in zip(window.pad, window.kernel, strict=True)):
        raise ShapeError("has a padding that is no smaller than its kernel")
    floor = fields.get("round_mode") == "FLOOR"
    pooled = window.pooled(shape[1:], floor)
    # A larger window is cut off at the plane, where a stride as long leaves one.
    if min(pooled) < 1 or max(window.kernel) > max(MAX_WINDOW, *shape[1:]):
        raise ShapeError(f"has a window larger than its plane, {shape[1]}x{shape[2]}")
    return (shape[0], *pooled), ()


def _unchanged(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    return shape, ()


def _prelu(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    shared = layer.fields.get("prelu_param", {}).get("channel_shared", False)
    return shape, ((),) if shared else ((shape[0],),)


def _batch_norm(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    return shape, ((shape[0],), (shape[0],), (1,))


def _scale(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("scale_param", {})
    if len(layer.bottoms) > 1:
        raise ShapeError("takes its factors from another blob")
    if fields.get("axis", 1) != 1 or fields.get("num_axes", 1) != 1:
        raise ShapeError("scales more than channels")
    count = 2 if fields.get("bias_term") else 1
    return shape, ((shape[0],),) * count


def _bias(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("bias_param", {})
    if len(layer.bottoms) > 1:
        raise ShapeError("takes its terms from another blob")
    if fields.get("axis", 1) != 1 or fields.get("num_axes", 1) != 1:
        raise ShapeError("shifts more than channels")
    return shape, ((shape[0],),)


def _planar(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    if len(shape) != 3:
        raise ShapeError(f"needs channels, height and width; it gets {shape}")
    if layer.fields.get("lrn_param", {}).get("local_size", 5) % 2 == 0:
        raise ShapeError("has an even local_size")
    return shape, ()


def _dropout(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    if not 0 < layer.fields.get("dropout_param", {}).get("dropout_ratio", 0.5) < 1:
        raise ShapeError("has a dropout_ratio that is not between 0 and 1")
    return shape, ()


def _flatten(layer: Layer, shape: Shape) -> tuple[Shape, tuple[Shape, ...]]:
    fields = layer.fields.get("flatten_param", {})
    if fields.get("axis", 1) != 1 or fields.get("end_axis", -1) != -1:
        raise ShapeError("flattens other axes than all of an image's")
    return (prod(shape),), ()


Rule = Callable[[Layer, Shape], tuple[Shape, tuple[Shape, ...]]]

ELEMENTWISE = (
    "ReLU",
    "ELU",
    "TanH",
    "Sigmoid",
    "BNLL",
    "Power",
    "GaussianNoise",
)
KNOWN: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _unchanged),
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "PReLU": _prelu,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _bias,
    "Dropout": _dropout,
    "LRN": _planar,
    "MVN": _planar,
    "Flatten": _flatten,
}
