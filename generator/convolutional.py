"""The classifier as a fully convolutional network (Section 4.3, "convolution").

Inner products become convolutions of the map they read, so that the network slides
over images of any size; the class scores are averaged over the grid. fc6/conv takes
fc6's weights in another shape, which tools/to_convolution.py gives them.
"""

from dataclasses import replace
from math import prod

from . import names
from .encoder import sections
from .layers import Enum, Layer, Section, Shape
from .networks import softmax
from .sequence import WEIGHTED, Network
from .shapes import inferred


def fully_convolutional(network: Network) -> list[Section] | None:
    """Returns encoder, classifier and average, without the input layer.

    None for what is no such classifier: images that are no maps, no scores, layers
    beyond the macro-layers, places of a flattened map told apart other than by an inner
    product.
    """
    if len(network.image.shape) != 3 or network.scores is None or network.limit:
        return None
    layers: list[tuple[int, Layer]] = []
    renamed: dict[str, str] = {}
    pooled_globally = False
    shape: Shape = network.image.shape
    for index, macro in enumerate(network.macro_layers, start=1):
        for layer in (*macro.layers, *macro.passed):
            changed = layer.reading(renamed)
            if layer.type == "Flatten":
                renamed[layer.tops[0]] = changed.bottoms[0]
                continue
            if layer.type == "InnerProduct":
                changed = _as_convolution(changed, shape)
                renamed[layer.tops[0]] = changed.tops[0]
            elif layer.bottoms == layer.tops:
                changed = replace(changed, tops=changed.bottoms)
            if layer.type in (*WEIGHTED, "Pooling"):
                shape = changed.shape
            elif layer.blobs and len(layer.shape) == 1 and prod(shape[1:]) > 1:
                return None
            changed = replace(changed, shape=shape)
            pooled_globally = layer.type == "Pooling" and bool(
                layer.fields["pooling_param"].get("global_pooling")
            )
            layers.append((index, changed))
    blob = layers[-1][1].tops[0]
    classes = network.scores.shape[:1]
    if shape[:1] != classes:
        return None
    output = []
    if not pooled_globally:
        fields = {"pooling_param": {"pool": Enum("AVE"), "global_pooling": True}}
        name = f"{network.scores.blob}/average"
        output.append(
            Layer(name, "Pooling", (blob,), (name,), fields, (*classes, 1, 1))
        )
        blob = name
    output.append(softmax(blob, (*classes, 1, 1)))
    title = "class probabilities, of the scores' average"
    return [*sections(network, layers), Section(title, tuple(output))]


def _as_convolution(layer: Layer, shape: Shape) -> Layer:
    """Returns an inner product over a map of that shape as the convolution that it
    is."""
    product = layer.fields["inner_product_param"]
    high, wide = shape[1:] if len(shape) == 3 else (1, 1)
    fields = {"num_output": product["num_output"]}
    fields |= {"bias_term": False} if not product.get("bias_term", True) else {}
    fields |= (
        {"kernel_size": high}
        if high == wide
        else {
            "kernel_h": high,
            "kernel_w": wide,
        }
    )
    name = f"{layer.name}{names.CONVOLUTION_SUFFIX}"
    changed = Layer(
        name,
        "Convolution",
        layer.bottoms,
        (name,),
        {k: v for k, v in layer.fields.items() if k == "param"}
        | {"convolution_param": fields},
    )
    plane = shape if len(shape) == 3 else (*shape, 1, 1)
    shape, blobs = inferred(changed, plane)
    return replace(changed, shape=shape, blobs=blobs)
