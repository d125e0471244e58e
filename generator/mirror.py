"""The augmented network, macro-layer by macro-layer: encoder, classifier, decoder.

Layer names are those of the authors' release, so that its weights load by name.
"""

from dataclasses import dataclass
from math import ceil, prod

from .layers import Enum, Layer, Section, Shape, shape_text
from .networks import Convolution, InnerProduct, MacroLayer, Network, Pooling
from .variants import Variant

PIXEL_SCALE = 1 / 255
"""From pixels in 0..255 to the [0, 1] in which the image loss is measured (A1)."""

CENTRE = -1
"""Where `sae-*` unpools to: floor(k/2) in each axis of the window (ours)."""


@dataclass(frozen=True)
class Activation:
    """a_l: its reconstruction goes by `name`, the encoder has it in `blob`."""

    name: str
    blob: str
    shape: Shape


def activations(network: Network) -> list[Activation]:
    """a_0 (the image) to the classifier's last layer; the index is the depth."""
    result = [Activation("data", "data", network.image)]
    for macro in network.macro_layers:
        shape = result[-1].shape
        for convolution in macro.convolutions:
            shape = _convolved(shape, convolution)
        blob = macro.last
        if macro.pooling:
            shape = _pooled(shape, macro.pooling)
            blob += "/pool"
        result.append(Activation(macro.last, blob, shape))
    for inner in network.classifier:
        result.append(Activation(inner.name, inner.name, (inner.num_output,)))
    return result


def scaled_image(network: Network) -> Layer:
    """data/scaled: the mean-subtracted image in units of [0, 1]."""
    scale = {"power_param": {"scale": PIXEL_SCALE}}
    return Layer(
        "data/scaled", "Power", ("data",), ("data/scaled",), scale, network.image
    )


# --- encoder


def encoder(network: Network, depth: int, masks: int, frozen: bool) -> list[Section]:
    """Macro-layers 1 to `depth`, the convolutional ones; sections in forward order.

    masks: so many macro-layers' pooling also yields its switches. frozen: nothing
    here is trained.
    """
    trail = activations(network)
    sections = []
    for index, macro in enumerate(network.macro_layers[:depth], start=1):
        layers = []
        if index == 1 and network.input_blob == "data/scaled":
            layers.append(scaled_image(network))
        source = network.input_blob if index == 1 else trail[index - 1].blob
        shape = trail[index - 1].shape
        for convolution in macro.convolutions:
            layers += _convolution(convolution, source, shape, frozen)
            source, shape = convolution.name, layers[-1].shape
        if macro.pooling:
            layers.append(_pooling(macro, shape, mask=index <= masks))
        title = f"macro-layer {index}: {_arrow(trail[index - 1], trail[index])}"
        sections.append(Section(title, tuple(layers)))
    return sections


def classifier(
    network: Network, count: int | None = None, frozen: bool = False
) -> Section:
    """The first `count` inner products (all by default).

    Frozen, they have no dropout: a decoder learns to invert what the classifier
    computes, not what dropout leaves of it.
    """
    trail = activations(network)[network.depth :]
    inners = network.classifier[:count]
    layers: list[Layer] = []
    source = trail[0].blob
    for inner, below in zip(inners, trail, strict=False):
        layers += _inner_product(network, inner, source, below.shape, frozen)
        source = layers[-1].tops[0]
    return Section(f"classifier: {_arrow(trail[0], trail[len(inners)])}", tuple(layers))


def _convolution(
    convolution: Convolution, source: str, shape: Shape, frozen: bool
) -> list[Layer]:
    name = convolution.name
    out = _convolved(shape, convolution)
    size = convolution.kernel_size
    layer = Layer(
        name,
        "Convolution",
        (source,),
        (name,),
        {
            "param": _rates(frozen),
            "convolution_param": _window(convolution)
            | {"weight_filler": {"type": "msra"}},
        },
        out,
        ((out[0], shape[0], size, size), (out[0],)),
    )
    return [layer, _relu(name, out)]


def _pooling(macro: MacroLayer, shape: Shape, mask: bool) -> Layer:
    top = f"{macro.last}/pool"
    return Layer(
        top,
        "Pooling",
        (macro.last,),
        (top, f"{top}-mask") if mask else (top,),
        {"pooling_param": {"pool": Enum("MAX")} | _pooling_window(macro.pooling)},
        _pooled(shape, macro.pooling),
    )


def _inner_product(
    network: Network, inner: InnerProduct, source: str, shape: Shape, frozen: bool
) -> list[Layer]:
    name = inner.name
    out = (inner.num_output,)
    layers = [
        Layer(
            name,
            "InnerProduct",
            (source,),
            (name,),
            {
                "param": _rates(frozen),
                "inner_product_param": {
                    "num_output": inner.num_output,
                    "weight_filler": {"type": "msra"},
                },
            },
            out,
            ((inner.num_output, prod(shape)), out),
        )
    ]
    if inner is network.classifier[-1]:
        return layers
    layers.append(_relu(name, out))
    if inner.dropout and not frozen:
        top = f"{name}/dropout"
        ratio = {"dropout_param": {"dropout_ratio": inner.dropout}}
        layers.append(Layer(top, "Dropout", (name,), (top,), ratio, out))
    return layers


# --- decoder


def decoder(
    network: Network,
    variant: Variant,
    depth: int,
    weights: tuple[float, ...] | None,
    rates: tuple[float, ...] | None = None,
) -> list[Section]:
    """The decoders of macro-layer `depth` to 1, in that order.

    weights: of the loss of a_0, a_1, ... (the last serves all deeper ones); None: no
        losses. `*-first` has the loss of a_0 alone.
    rates: lr_mult of macro-layer 1, 2, ...'s decoder, likewise; None: 1 everywhere.
    """
    trail = activations(network)
    sections = []
    source = trail[depth].blob
    for index in range(depth, 0, -1):
        here, below = trail[index], trail[index - 1]
        if not variant.stacked:
            source = here.blob
        rate = 1.0 if rates is None else rates[min(index, len(rates)) - 1]
        top = f"dec:{below.name}"
        if not variant.stacked and index > 1:
            top += "[2]"
        if index > network.depth:
            layers = _inverse_inner_product(network, here, below, source, top, rate)
        else:
            layers = _inverse_macro_layer(
                network, variant, index, source, below, top, rate
            )
        reshaped = index == network.depth + 1 and variant.stacked
        if reshaped:
            layers.append(_reshape(top, f"{top}/reshape", below.shape))
        source = layers[-1].tops[0]
        if weights and (variant.all_losses or index == 1):
            weight = weights[min(index, len(weights)) - 1]
            layers += _loss(network, below, source, weight)
        title = f"decoder of macro-layer {index}: {_arrow(here, below)}"
        sections.append(Section(title, tuple(layers)))
    return sections


def _inverse_macro_layer(
    network: Network,
    variant: Variant,
    index: int,
    source: str,
    below: Activation,
    top: str,
    rate: float,
) -> list[Layer]:
    """Unpool, then a deconvolution for each convolution, last one first (Figure 1)."""
    macro = network.macro_layers[index - 1]
    shapes = [below.shape]
    for convolution in macro.convolutions:
        shapes.append(_convolved(shapes[-1], convolution))
    layers = []
    if macro.pooling:
        layers.append(_unpooling(macro, variant, source, shapes[-1]))
        source = layers[-1].tops[0]
    for place in range(len(macro.convolutions) - 1, -1, -1):
        convolution = macro.convolutions[place]
        name = f"dec:{convolution.name}"
        out = f"dec:{macro.convolutions[place - 1].name}" if place else top
        size, shape = convolution.kernel_size, shapes[place]
        layers.append(
            Layer(
                name,
                "Deconvolution",
                (source,),
                (out,),
                {
                    "param": _rates(rate=rate),
                    "convolution_param": _window(convolution)
                    | {"num_output": shape[0], "weight_filler": _gaussian(network)},
                },
                shape,
                ((shapes[place + 1][0], shape[0], size, size), (shape[0],)),
            )
        )
        if out != "dec:data":
            layers.append(_relu(out, shape))
        source = out
    return layers


def _unpooling(macro: MacroLayer, variant: Variant, source: str, shape: Shape) -> Layer:
    name = f"dec:{macro.last}/unpool"
    window = _pooling_window(macro.pooling)
    bottoms = [source]
    if variant.switches:
        bottoms.append(f"{macro.last}/pool-mask")
        method = {"pool": Enum("SWITCH")} | window
    else:
        method = {"pool": Enum("FIX"), "fix": CENTRE} | window
    if _unpooled(_pooled(shape, macro.pooling), macro.pooling) != shape:
        bottoms.append(macro.last)  # pooling rounded up: only its input knows the size
    return Layer(
        name, "Depooling", tuple(bottoms), (name,), {"pooling_param": method}, shape
    )


def _inverse_inner_product(
    network: Network,
    here: Activation,
    below: Activation,
    source: str,
    top: str,
    rate: float,
) -> list[Layer]:
    units = prod(below.shape)
    layer = Layer(
        f"dec:{here.name}",
        "InnerProduct",
        (source,),
        (top,),
        {
            "param": _rates(rate=rate),
            "inner_product_param": {
                "num_output": units,
                "weight_filler": _gaussian(network),
            },
        },
        (units,),
        ((units, prod(here.shape)), (units,)),
    )
    return [layer, _relu(top, (units,))]


def _reshape(source: str, top: str, shape: Shape) -> Layer:
    fields = {"reshape_param": {"axis": 1, "shape": {"dim": list(shape)}}}
    return Layer(top, "Reshape", (source,), (top,), fields, shape)


def _loss(
    network: Network, below: Activation, source: str, weight: float
) -> list[Layer]:
    """||reconstruction - activation||^2, in Caffe's terms 1/(2N) of it."""
    layers = []
    target = below.blob
    if below.name == "data":
        target = "data/scaled"
        if network.input_blob != target:
            layers.append(scaled_image(network))
    name = f"dec:loss@{'data/scaled' if below.name == 'data' else below.name}"
    fields = {"loss_weight": weight}
    layers.append(Layer(name, "EuclideanLoss", (source, target), (name,), fields))
    return layers


# --- what both sides share


def _relu(blob: str, shape: Shape) -> Layer:
    return Layer(f"{blob}/relu", "ReLU", (blob,), (blob,), {}, shape)


def _rates(frozen: bool = False, rate: float = 1.0) -> list[dict[str, float]]:
    """Multipliers of weights and biases: 1 and 2, decay 1 and 0, or nothing at all."""
    if frozen:
        return [{"lr_mult": 0}, {"lr_mult": 0}]
    return [
        {"lr_mult": rate, "decay_mult": 1},
        {"lr_mult": 2 * rate, "decay_mult": 0},
    ]


def _gaussian(network: Network) -> dict:
    return {"type": "gaussian", "std": network.decoder_std}


def _window(convolution: Convolution) -> dict:
    window = {
        "num_output": convolution.num_output,
        "kernel_size": convolution.kernel_size,
        "stride": convolution.stride,
        "pad": convolution.pad,
    }
    defaults = {"stride": 1, "pad": 0}
    return {key: value for key, value in window.items() if defaults.get(key) != value}


def _pooling_window(pooling: Pooling) -> dict:
    window = {"kernel_size": pooling.kernel_size, "stride": pooling.stride}
    return window | ({"pad": pooling.pad} if pooling.pad else {})


def _convolved(shape: Shape, convolution: Convolution) -> Shape:
    def side(length: int) -> int:
        free = length + 2 * convolution.pad - convolution.kernel_size
        return free // convolution.stride + 1

    return (convolution.num_output, side(shape[1]), side(shape[2]))


def _pooled(shape: Shape, pooling: Pooling) -> Shape:
    """Caffe rounds up, then drops a last window that starts in the padding."""

    def side(length: int) -> int:
        free = length + 2 * pooling.pad - pooling.kernel_size
        count = ceil(free / pooling.stride) + 1
        if pooling.pad and (count - 1) * pooling.stride >= length + pooling.pad:
            count -= 1
        return count

    return (shape[0], side(shape[1]), side(shape[2]))


def _unpooled(shape: Shape, pooling: Pooling) -> Shape:
    """The size that Depooling assumes when nothing tells it another."""

    def side(length: int) -> int:
        return (length - 1) * pooling.stride + pooling.kernel_size - 2 * pooling.pad

    return (shape[0], side(shape[1]), side(shape[2]))


def _arrow(here: Activation, there: Activation) -> str:
    return f"{shape_text(here.shape)} -> {shape_text(there.shape)}"
