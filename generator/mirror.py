"""The augmented network, macro-layer by macro-layer: encoder, classifier, decoder.

Layer names are those of the authors' release, so that its weights load by name.

What an encoder's layer becomes in the decoder (Figure 1; the rest is ours):

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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose, prod

from .layers import Enum, Fields, Layer, Section, Shape, shape_text, without
from .networks import multipliers, scaled_image
from .sequence import WEIGHTED, Activation, Inverse, MacroLayer, Network
from .shapes import (
    ShapeError,
    Window,
    convolution_window,
    inferred,
    pooling_window,
)
from .variants import Variant

CENTRE = -1
"""Where `sae-*` unpools to: floor(k/2) in each axis of the window (ours)."""

MAX_SWITCH_PLANE = 2**24
"""Switches are floats, which count exactly only so far."""

BOUNDING = ("ReLU", "PReLU", "ELU", "TanH", "Sigmoid", "BNLL")
READING_BACK = ("ReLU", "ELU", "TanH", "Sigmoid", "BNLL")
"""Functions whose gradient Caffe computes from what they yielded (PReLU keeps a copy);
BNLL from what it read."""

NORMALISING = ("BatchNorm", "Scale", "Bias")
MIRRORED = BOUNDING + NORMALISING
NOTHING = ("LRN", "MVN", "Power", "Dropout", "Flatten")
INVERTIBLE = (*WEIGHTED, "Pooling", *MIRRORED, *NOTHING)
"""Every type that a decoder knows how to undo."""


def obstacle(layer: Layer, shape: Shape) -> str | None:
    """Why a layer that reads a blob of that shape cannot be mirrored: the end of a
    sentence; None where it can."""
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


# --- encoder


def tapped(network: Network, depth: int) -> Network:
    """The network with a_1 to a_`depth` out of reach of dropout, for training.

    Where a user's file drops in place what a pooling or another layer without
    parameters has made, that layer is there twice: once for the decoder. Behind an
    activation function in place, the decoder sees what dropout leaves.
    """
    return replace(
        network,
        macro_layers=tuple(
            _tapped(macro) if index <= depth else macro
            for index, macro in enumerate(network.macro_layers, start=1)
        ),
    )


def _tapped(macro: MacroLayer) -> MacroLayer:
    output, last = macro.output, macro.layers[-1]
    dropped = any(layer.tops == (output.blob,) for layer in macro.passed)
    if not dropped or last.blobs or last.bottoms == last.tops:
        return macro
    name = f"dec:{output.name}/clean"
    tap = replace(last, name=name, tops=(name,))
    place = macro.body.index(last) + 1
    return replace(
        macro,
        output=replace(output, blob=name),
        body=(*macro.body[:place], tap, *macro.body[place:]),
    )


def encoder(network: Network, depth: int, switches: int = 0) -> list[Section]:
    """Macro-layers 1 to `depth` as they are trained; sections in forward order.

    switches: so many macro-layers' max pooling also yields its switches.
    """
    layers = [
        (index, with_switches(layer) if index <= switches else layer)
        for index, macro in enumerate(network.macro_layers[:depth], start=1)
        for layer in macro.body
    ]
    return sections(network, layers)


def frozen_encoder(network: Network, depth: int, switches: bool) -> list[Section]:
    """Macro-layers 1 to `depth`, trained by nobody.

    Nothing is dropped: a decoder learns to invert what the classifier computes, not
    what dropout leaves of it.
    """
    layers = []
    for index, macro in enumerate(network.macro_layers[:depth], start=1):
        passed = macro.passed if index < depth else ()
        layers += [(index, layer) for layer in (*macro.layers, *passed)]
    kept = iter(without((layer for _, layer in layers), "Dropout"))
    frozen = []
    for index, layer in layers:
        if layer.type != "Dropout":
            layer = next(kept).frozen()
            frozen.append((index, with_switches(layer) if switches else layer))
    return sections(network, frozen)


def sections(network: Network, layers: list[tuple[int, Layer]]) -> list[Section]:
    """Layers with the index of their macro-layer, under titles: the inner products
    share one."""
    groups: dict[int, list[Layer]] = {}
    first_inner = next(
        (i for i, m in enumerate(network.macro_layers, 1) if not m.convolutional), None
    )
    for index, layer in layers:
        inner = not network.macro_layers[index - 1].convolutional
        groups.setdefault(first_inner if inner else index, []).append(layer)
    trail = network.activations
    last = max((index for index, _ in layers), default=0)
    result = []
    for index, group in groups.items():
        if index == first_inner:
            title = f"classifier: {_arrow(trail[index - 1], trail[last])}"
        else:
            title = f"macro-layer {index}: {_arrow(trail[index - 1], trail[index])}"
        result.append(Section(title, tuple(group)))
    return result


def with_switches(layer: Layer) -> Layer:
    """A max pooling that also yields where its maxima were; others as they are."""
    decodes = layer.name.startswith("dec:")
    if layer.type != "Pooling" or len(layer.tops) > 1 or decodes:
        return layer
    if layer.fields.get("pooling_param", {}).get("pool", "MAX") != "MAX":
        return layer
    return replace(layer, tops=(layer.tops[0], mask_of(layer)))


def mask_of(layer: Layer) -> str:
    """The blob of a max pooling's switches."""
    return layer.tops[1] if len(layer.tops) > 1 else f"{layer.tops[0]}-mask"


# --- decoder


@dataclass(frozen=True)
class Decoding:
    """How decoders are built, beyond what the variant says.

    weights: of the loss of a_0, a_1, ... (the last serves all deeper ones); None: no
        losses. `*-first` has the loss of a_0 alone.
    rates: lr_mult of macro-layer 1, 2, ...'s decoder, likewise; None: 1 everywhere.
    """

    weights: tuple[float, ...] | None
    rates: tuple[float, ...] | None = None

    def weight(self, index: int) -> float:
        return self.weights[min(index, len(self.weights)) - 1]

    def rate(self, index: int) -> float:
        return (
            1.0 if self.rates is None else self.rates[min(index, len(self.rates)) - 1]
        )


def decoder(
    network: Network, variant: Variant, depth: int, decoding: Decoding
) -> list[Section]:
    """The decoders of macro-layer `depth` to 1, in that order."""
    trail = network.activations
    result = []
    source = trail[depth].blob
    for index in range(depth, 0, -1):
        here, below = trail[index], trail[index - 1]
        if not variant.stacked:
            source = here.blob
        top = f"dec:{below.name}"
        if not variant.stacked and index > 1:
            top += "[2]"
        inverse = Inversion(network, variant.switches, index, decoding.rate(index))
        layers = inverse.layers(source, top, mapped=variant.stacked)
        source = layers[-1].tops[0]
        if decoding.weights and (variant.all_losses or index == 1):
            layers += loss(network, below, source, decoding.weight(index))
        title = f"decoder of macro-layer {index}: {_arrow(here, below)}"
        result.append(Section(title, tuple(layers)))
    return result


class Inversion:
    """Undoes one macro-layer: unpools, then a deconvolution for each convolution, last
    one first, with the activation function of what it reconstructs (Figure 1)."""

    def __init__(
        self, network: Network, switches: bool, index: int, rate: float
    ) -> None:
        """rate: lr_mult of the decoder's weights."""
        self._network = network
        self._switches = switches
        self._macro = network.macro_layers[index - 1]
        self._below = network.activations[index - 1]
        self._beneath = network.macro_layers[index - 2] if index > 1 else None
        self._rate = rate

    def layers(
        self, source: str, top: str, mapped: bool = True, bounded: bool = True
    ) -> list[Layer]:
        """From the blob `source`, of a_l's shape, to the reconstruction of a_{l-1}.

        top: its blob, or what comes before a reshape. mapped: a vector is brought back
        to the map that it was. bounded: the activation function is applied, too.
        """
        result: list[Layer] = []
        pieces = self._macro.layers
        undone = [i for i, la in enumerate(pieces) if la.type in (*WEIGHTED, "Pooling")]
        for place in reversed(undone):
            layer, shape = pieces[place], self._input(place)
            before = [i for i in undone if i < place]
            if layer.type == "Pooling":
                name = None if before else top
                result += self._unpooling(place, shape, source, name)
                source = result[-1].tops[0]
                continue
            below = [i for i in before if pieces[i].type in WEIGHTED]
            if below:
                out = f"dec:{pieces[below[-1]].name}"
                companions = pieces[below[-1] + 1 : place]
            else:
                # only a pooling of the image itself can come before
                out = f"{top}/pooled" if before else top
                companions = self._beneath.companions if self._beneath else ()
            result += self._inverse(layer, shape, source, out)
            result += self._finished(
                result[-1], shape, companions if below or bounded else (), mapped
            )
            source = result[-1].tops[0]
        return result

    def _finished(
        self, last: Layer, shape: Shape, companions: Sequence[Layer], mapped: bool
    ) -> list[Layer]:
        """Activation function and reshape, which comes first where channels matter."""
        companions = [layer for layer in companions if layer.type in MIRRORED]
        flat = last.shape != shape
        by_channel = any(layer.blobs for layer in companions)
        if flat and by_channel:
            reshaped = self._reshape(last.tops[0], shape)
            return [reshaped, *self._mirrored(companions, reshaped)]
        layers = self._mirrored(companions, last)
        if flat and (mapped or self._beneath is None):
            layers.append(self._reshape([last, *layers][-1].tops[0], shape))
        return layers

    def _reshape(self, source: str, shape: Shape) -> Layer:
        """The image's own name is for the image's own shape; others get a new one."""
        name = f"{source.removesuffix('/flat')}/reshape"
        top = source.removesuffix("/flat") if source.endswith("/flat") else name
        fields = {"reshape_param": {"axis": 1, "shape": {"dim": list(shape)}}}
        return Layer(name, "Reshape", (source,), (top,), fields, shape)

    def _input(self, place: int) -> Shape:
        """The shape that one of the macro-layer's layers reads, before flattening."""
        shaping = (*WEIGHTED, "Pooling")
        before = [la for la in self._macro.layers[:place] if la.type in shaping]
        return before[-1].shape if before else self._below.shape

    def _sized_like(self, layer: Layer) -> str:
        """A blob of the shape that a layer reads, also where nothing is dropped."""
        undropped = {
            la.tops[0]: la.bottoms[0]
            for macro in self._network.macro_layers
            for la in (*macro.layers, *macro.passed)
            if la.type == "Dropout" and la.tops != la.bottoms
        }
        blob = layer.bottoms[0]
        while blob in undropped:
            blob = undropped[blob]
        return blob

    # --- one layer each

    def _inverse(
        self, layer: Layer, shape: Shape, source: str, top: str
    ) -> list[Layer]:
        if layer.name in self._network.inverses:
            return self._given(layer, source, top, self._network.inverses[layer.name])
        if layer.type == "InnerProduct":
            return self._inverse_inner_product(layer, shape, source, top)
        return self._inverse_convolution(layer, shape, source, top)

    def _inverse_inner_product(
        self, layer: Layer, shape: Shape, source: str, top: str
    ) -> list[Layer]:
        if len(shape) > 1 and self._beneath is None:
            top += "/flat"  # the image's own name is for the image's own shape
        fields = {"num_output": prod(shape), "weight_filler": self._gaussian}
        return [
            self._weighted(
                f"dec:{layer.name}",
                "InnerProduct",
                source,
                top,
                {"inner_product_param": fields},
                layer.shape,
            )
        ]

    def _inverse_convolution(
        self, layer: Layer, shape: Shape, source: str, top: str
    ) -> list[Layer]:
        given = layer.fields["convolution_param"]
        fields = {k: v for k, v in given.items() if k in _WINDOW}
        if self._network.grouped_decoder and given.get("group", 1) != 1:
            fields["group"] = given["group"]
        window = convolution_window(layer)
        kernel, excess = _grown(window, layer.shape[1:], shape[1:])
        if kernel != window.kernel:
            fields = {k: v for k, v in fields.items() if k not in _KERNEL}
            fields |= {"kernel_h": kernel[0], "kernel_w": kernel[1]}
        fields |= {"num_output": shape[0], "weight_filler": self._gaussian}
        name, whole = f"dec:{layer.name}", f"{top}/uncropped" if excess else top
        deconvolution = self._weighted(
            name,
            "Deconvolution",
            source,
            whole,
            {"convolution_param": fields},
            layer.shape,
        )
        if not excess:
            return [deconvolution]
        crop = Layer(
            f"{name}/crop",
            "Crop",
            (whole, self._sized_like(layer)),
            (top,),
            {"crop_param": {"axis": 2}},
            shape,
        )
        return [deconvolution, crop]

    def _given(
        self, layer: Layer, source: str, top: str, inverses: Sequence[Inverse]
    ) -> list[Layer]:
        """The layers that the network's description names, ReLU between them."""
        layers: list[Layer] = []
        shape = layer.shape
        for inverse in inverses:
            name = f"dec:{layer.name}-{inverse.suffix}"
            last = inverse is inverses[-1]
            out = top if last else name
            window = {
                "num_output": inverse.num_output,
                "kernel_size": inverse.kernel_size,
            }
            window |= {"stride": inverse.stride} if inverse.stride != 1 else {}
            window |= {"pad": inverse.pad} if inverse.pad else {}
            window |= {"weight_filler": self._gaussian}
            fields = {"convolution_param": window}
            layers.append(
                self._weighted(name, inverse.type, source, out, fields, shape)
            )
            shape = layers[-1].shape
            if not last:
                layers.append(Layer(f"{out}/relu", "ReLU", (out,), (out,), {}, shape))
            source = out
        return layers

    def _weighted(
        self,
        name: str,
        kind: str,
        source: str,
        top: str,
        fields: Fields,
        shape: Shape,
    ) -> Layer:
        """shape: of the source."""
        fields = {"param": multipliers(self._rate)} | fields
        layer = Layer(name, kind, (source,), (top,), fields)
        shape, blobs = inferred(layer, shape)
        return replace(layer, shape=shape, blobs=blobs)

    @property
    def _gaussian(self) -> Fields:
        return {"type": "gaussian", "std": self._network.decoder_std}

    def _mirrored(self, companions: Sequence[Layer], last: Layer) -> list[Layer]:
        """Functions and normalisations that a reconstruction passes.

        In place, except where a layer's gradient needs what would be overwritten.
        """
        layers: list[Layer] = []
        needed = False
        blob, shape = last.tops[0], last.shape
        for layer in companions:
            same = sum(la.type == layer.type for la in layers)
            kind = layer.type.lower()
            name = f"{last.tops[0]}/{kind}{same + 1 if same else ''}"
            parameters = parameter_field(layer.type)
            fields = {k: v for k, v in layer.fields.items() if k == parameters}
            if layer.type == "BatchNorm":
                fields = _own_statistics(fields)
            elif layer.blobs:
                rates = multipliers(self._rate, len(layer.blobs))
                fields = {"param": rates} | fields
            top = name if needed or layer.type == "BNLL" else blob
            mirrored = Layer(name, layer.type, (blob,), (top,), fields)
            blob, needed = top, layer.type in READING_BACK
            shape, blobs = inferred(mirrored, shape)
            layers.append(replace(mirrored, shape=shape, blobs=blobs))
        return layers

    def _unpooling(
        self, place: int, shape: Shape, source: str, top: str | None
    ) -> list[Layer]:
        """Overlapping windows: what landed on a place is divided by how many did."""
        layer = self._macro.layers[place]
        given = layer.fields.get("pooling_param", {})
        name = self._unpooling_name(place)
        window = {k: v for k, v in given.items() if k not in ("pool", "engine")}
        bottoms = [source]
        if given.get("pool", "MAX") == "AVE":
            method: Fields = {"pool": Enum("AVE")}
        elif self._switches:
            bottoms.append(mask_of(layer))
            method = {"pool": Enum("SWITCH")}
        else:
            method = {"pool": Enum("FIX"), "fix": CENTRE}
        geometry = pooling_window(layer, shape)
        unpooled = geometry.deconvolved(layer.shape[1:])
        if given.get("global_pooling") or unpooled != shape[1:]:
            bottoms.append(self._sized_like(layer))  # only its input knows the size
        top = top or name
        fields = {"pooling_param": method | window}
        if not geometry.overlaps or prod(layer.shape[1:]) == 1:
            return [Layer(name, "Depooling", tuple(bottoms), (top,), fields, shape)]
        sums, counts, inverse = f"{name}/unnorm", f"{name}/mask", f"{name}/mask-inv"
        fields_of_product = {"eltwise_param": {"operation": Enum("PROD")}}
        return [
            Layer(name, "Depooling", tuple(bottoms), (sums, counts), fields, shape),
            Layer(inverse, "SafeInv", (counts,), (inverse,), {}, shape),
            Layer(
                f"{name}/norm",
                "Eltwise",
                (sums, inverse),
                (top,),
                fields_of_product,
                shape,
            ),
        ]

    def _unpooling_name(self, place: int) -> str:
        """dec:conv3_3/unpool, by the convolution whose output is pooled."""
        pieces = self._macro.layers
        undone = (*WEIGHTED, "Pooling")
        before = [la for la in pieces[:place] if la.type in undone]
        by = before[-1] if before and before[-1].type in WEIGHTED else pieces[place]
        return f"dec:{by.name}/unpool"


def loss(
    network: Network, below: Activation, source: str, weight: float
) -> list[Layer]:
    """||reconstruction - activation||^2, in Caffe's terms 1/(2N) of it."""
    if below is not network.image:
        return [_euclidean(f"dec:loss@{below.name}", source, below.blob, weight)]
    layers, target = image_target(network)
    return [*layers, _euclidean(f"dec:loss@{target}", source, target, weight)]


def image_target(network: Network) -> tuple[list[Layer], str]:
    """The blob that the image's reconstruction is compared with, in units of [0, 1],
    and the layer that makes it where the encoder has none."""
    if network.pixel_scale == 1:
        return [], network.image.blob
    scaled = scaled_image(network.image, network.pixel_scale)
    known = [layer for macro in network.macro_layers for layer in macro.body]
    made = any(_scales_alike(layer, scaled) for layer in known)
    return [] if made else [scaled], scaled.tops[0]


def _scales_alike(layer: Layer, scaled: Layer) -> bool:
    """Whether a layer is the one that brings the image to [0, 1], as read back from a
    file with fewer digits."""
    power, wanted = (each.fields.get("power_param", {}) for each in (layer, scaled))
    same = (layer.type, layer.bottoms, layer.tops) == (
        scaled.type,
        scaled.bottoms,
        scaled.tops,
    )
    return (
        same
        and power.keys() == wanted.keys()
        and isclose(power["scale"], wanted["scale"], rel_tol=1e-6)
    )


def _euclidean(name: str, source: str, target: str, weight: float) -> Layer:
    fields = {"loss_weight": weight}
    return Layer(name, "EuclideanLoss", (source, target), (name,), fields)


_KERNEL = ("kernel_size", "kernel_h", "kernel_w")
_WINDOW = (
    "num_output",
    *_KERNEL,
    *("stride", "stride_h", "stride_w", "pad", "pad_h", "pad_w", "dilation"),
)


def _grown(window: Window, plane: Shape, wanted: Shape) -> tuple[tuple[int, int], bool]:
    """The kernel with which a deconvolution of `plane` reaches all of `wanted`, and
    whether it reaches farther, as with dilation it may have to."""
    missing = [
        want - have
        for want, have in zip(wanted, window.deconvolved(plane), strict=True)
    ]
    more = [-(-m // d) for m, d in zip(missing, window.dilation, strict=True)]
    kernel = tuple(k + m for k, m in zip(window.kernel, more, strict=True))
    grown = replace(window, kernel=kernel).deconvolved(plane)
    return kernel, grown != tuple(wanted)


def parameter_field(kind: str) -> str:
    """The field of LayerParameter that a type's own parameters are in."""
    return {"BatchNorm": "batch_norm_param"}.get(kind, f"{kind.lower()}_param")


def _own_statistics(fields: Fields) -> Fields:
    """A decoder's statistics are its own batches', also where the encoder's are fixed:
    it has no others to begin with."""
    given = fields.get("batch_norm_param", {})
    given = {k: v for k, v in given.items() if k != "use_global_stats"}
    return {"batch_norm_param": given} if given else {}


def _arrow(here: Activation, there: Activation) -> str:
    return f"{shape_text(here.shape)} -> {shape_text(there.shape)}"
