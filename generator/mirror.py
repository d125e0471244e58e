"""What a decoder can undo, and what an encoder's layer becomes in it (Figure 1).

Convolution and max pooling are the paper's; the rest is ours:

    Convolution         a Deconvolution of the same window and groups; where its stride
                        does not divide the plane, the kernel grows by what is left
    InnerProduct        an InnerProduct, and a Reshape where it flattened a map
    Pooling MAX         Depooling, by switches (SWWAE) or to the centre (SAE)
    Pooling AVE         Depooling that spreads evenly
    ReLU, PReLU, ELU,   the same function, once, on the reconstruction of what it
    TanH, Sigmoid,      yielded: a reconstruction is bounded as its target is; one with
    BNLL                parameters gets its own
    BatchNorm, Scale,   the same with statistics and parameters of its own, at the same
    Bias                place; none on the image
    LRN, MVN, Power,    nothing: the decoder's weights learn what they undo
    Dropout
    Flatten             the Reshape that the InnerProduct after it needs anyway
"""

from math import prod

from .layers import Layer, Shape
from .sequence import WEIGHTED
from .shapes import ShapeError, inferred, pooling_window

MAX_SWITCH_PLANE = 2**24
"""Switches are floats, which count exactly only so far."""

BOUNDING = ("ReLU", "PReLU", "ELU", "TanH", "Sigmoid", "BNLL")
NORMALISING = ("BatchNorm", "Scale", "Bias")
MIRRORED = BOUNDING + NORMALISING
NOTHING = ("LRN", "MVN", "Power", "Dropout", "Flatten")
INVERTIBLE = (*WEIGHTED, "Pooling", *MIRRORED, *NOTHING)
"""Every type that a decoder knows how to undo."""


def obstacle(layer: Layer, shape: Shape) -> str | None:
    """Returns why a layer that reads a blob of that shape cannot be mirrored, the end
    of a sentence; None where it can."""
    if layer.type not in INVERTIBLE:
        return f"is of type {layer.type}, which has no mirror image"
    try:
        inferred(layer, shape)
    except ShapeError as error:
        return str(error)
    if layer.type == "Pooling":
        return _unpooling_obstacle(layer, shape)
    return None


def _unpooling_obstacle(layer: Layer, shape: Shape) -> str | None:
    fields = layer.fields.get("pooling_param", {})
    if fields.get("pool", "MAX") not in ("MAX", "AVE"):
        return f"pools by {fields['pool']}, which keeps nothing to undo it with"
    if prod(shape[1:]) > MAX_SWITCH_PLANE:
        return f"has more than {MAX_SWITCH_PLANE:,} places, too many for switches"
    window, (top, _) = pooling_window(layer, shape), inferred(layer, shape)
    for count, stride, pad, length in zip(
        top[1:], window.stride, window.pad, shape[1:], strict=True
    ):
        if (count - 1) * stride - pad >= length:
            return "has a last window that lies outside its plane"
    return None
