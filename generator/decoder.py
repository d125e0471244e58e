"""The decoder: macro-layers undone one by one, last one first (Figures 1 and 2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose, prod

from . import names
from .encoder import arrow, mask_of
from .layers import Enum, Fields, Layer, Section, Shape
from .mirror import MIRRORED
from .networks import multipliers, scaled_image
from .sequence import WEIGHTED, Activation, Inverse, Network
from .shapes import Window, convolution_window, inferred, pooling_window
from .variants import Variant

CENTRE = -1
"""Where `sae-*` unpools to: floor(k/2) in each axis of the window (ours)."""

READING_BACK = ("ReLU", "ELU", "TanH", "Sigmoid", "BNLL")
"""Functions whose gradient Caffe computes from what they yielded (PReLU keeps a copy);
BNLL from what it read."""


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
    """Returns the decoders of macro-layer `depth` to 1, in that order."""
    trail = network.activations
    result = []
    source = trail[depth].blob
    for index in range(depth, 0, -1):
        here, below = trail[index], trail[index - 1]
        if not variant.stacked:
            source = here.blob
        joined = variant.stacked or index == 1
        top = names.decoded(below.name) if joined else names.layerwise(below.name)
        inverse = Inversion(network, variant.switches, index, decoding.rate(index))
        layers = inverse.layers(source, top, mapped=variant.stacked)
        source = layers[-1].tops[0]
        if decoding.weights and (variant.all_losses or index == 1):
            layers += loss(network, below, source, decoding.weight(index))
        title = f"decoder of macro-layer {index}: {arrow(here, below)}"
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
        """Returns the layers that reconstruct a_{l-1} from `source`, of a_l's shape.

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
                out = names.decoded(pieces[below[-1]].name)
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
        """Returns the image's own name for the image's own shape, a new one for
        others."""
        name = names.reshaped(source.removesuffix("/flat"))
        top = source.removesuffix("/flat") if source.endswith("/flat") else name
        fields = {"reshape_param": {"axis": 1, "shape": {"dim": list(shape)}}}
        return Layer(name, "Reshape", (source,), (top,), fields, shape)

    def _input(self, place: int) -> Shape:
        """Returns the shape that one of the macro-layer's layers reads, before
        flattening."""
        shaping = (*WEIGHTED, "Pooling")
        before = [la for la in self._macro.layers[:place] if la.type in shaping]
        return before[-1].shape if before else self._below.shape

    def _sized_like(self, layer: Layer) -> str:
        """Returns a blob of the shape that a layer reads, also where nothing is
        dropped."""
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
            inverses = self._network.inverses[layer.name]
            return self._described(layer, source, top, inverses)
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
                names.decoded(layer.name),
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
        convolution = layer.fields["convolution_param"]
        fields = {k: v for k, v in convolution.items() if k in _WINDOW}
        if self._network.grouped_decoder and convolution.get("group", 1) != 1:
            fields["group"] = convolution["group"]
        window = convolution_window(layer)
        kernel, excess = _grown(window, layer.shape[1:], shape[1:])
        if kernel != window.kernel:
            fields = {k: v for k, v in fields.items() if k not in _KERNEL}
            fields |= {"kernel_h": kernel[0], "kernel_w": kernel[1]}
        fields |= {"num_output": shape[0], "weight_filler": self._gaussian}
        name, whole = names.decoded(layer.name), f"{top}/uncropped" if excess else top
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

    def _described(
        self, layer: Layer, source: str, top: str, inverses: Sequence[Inverse]
    ) -> list[Layer]:
        """Returns the layers that the description names, ReLU between them."""
        layers: list[Layer] = []
        shape = layer.shape
        for inverse in inverses:
            name = f"{names.decoded(layer.name)}-{inverse.suffix}"
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
                layers.append(Layer(names.relu(out), "ReLU", (out,), (out,), {}, shape))
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

        In place, except where a layer's gradient needs what would be overwritten. What
        has weights is called the same in stacked and in layerwise decoders: stage 3
        starts from those of stage 2.
        """
        layers: list[Layer] = []
        needed = False
        blob, shape = last.tops[0], last.shape
        for layer in companions:
            same = sum(la.type == layer.type for la in layers)
            kind = layer.type.lower()
            own = f"{last.tops[0]}/{kind}{same + 1 if same else ''}"
            name = names.joined(own) if layer.blobs else own
            parameters = parameter_field(layer.type)
            fields = {k: v for k, v in layer.fields.items() if k == parameters}
            if layer.type == "BatchNorm":
                fields = _batch_statistics(fields)
            elif layer.blobs:
                rates = multipliers(self._rate, len(layer.blobs))
                fields = {"param": rates} | fields
            top = own if needed or layer.type == "BNLL" else blob
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
        pooling = layer.fields.get("pooling_param", {})
        name = self._unpooling_name(place)
        window = {k: v for k, v in pooling.items() if k not in ("pool", "engine")}
        bottoms = [source]
        if pooling.get("pool", "MAX") == "AVE":
            method: Fields = {"pool": Enum("AVE")}
        elif self._switches:
            bottoms.append(mask_of(layer))
            method = {"pool": Enum("SWITCH")}
        else:
            method = {"pool": Enum("FIX"), "fix": CENTRE}
        geometry = pooling_window(layer, shape)
        unpooled = geometry.deconvolved(layer.shape[1:])
        if pooling.get("global_pooling") or unpooled != shape[1:]:
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
        return names.unpooling(by.name)


def loss(
    network: Network, below: Activation, source: str, weight: float
) -> list[Layer]:
    """Returns ||reconstruction - activation||^2, in Caffe's terms 1/(2N) of it."""
    if below is not network.image:
        return [_euclidean(names.loss(below.name), source, below.blob, weight)]
    layers, target = image_target(network)
    return [*layers, _euclidean(names.loss(target), source, target, weight)]


def image_target(network: Network) -> tuple[list[Layer], str]:
    """Returns the layer that brings the image to units of [0, 1], where the encoder has
    none, and the blob that the image's reconstruction is compared with."""
    if network.pixel_scale == 1:
        return [], network.image.blob
    scaled = scaled_image(network.image, network.pixel_scale)
    known = [layer for macro in network.macro_layers for layer in macro.body]
    made = any(_scales_alike(layer, scaled) for layer in known)
    return [] if made else [scaled], scaled.tops[0]


def _scales_alike(layer: Layer, scaled: Layer) -> bool:
    """Tells whether a layer is the one that brings the image to [0, 1], as read back
    from a file with fewer digits."""
    power, wanted = (la.fields.get("power_param", {}) for la in (layer, scaled))
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
    """Returns the kernel with which a deconvolution of `plane` reaches all of `wanted`,
    and whether it reaches farther, as with dilation it may have to."""
    missing = [
        want - have
        for want, have in zip(wanted, window.deconvolved(plane), strict=True)
    ]
    more = [-(-m // d) for m, d in zip(missing, window.dilation, strict=True)]
    kernel = tuple(k + m for k, m in zip(window.kernel, more, strict=True))
    grown = replace(window, kernel=kernel).deconvolved(plane)
    return kernel, grown != tuple(wanted)


def parameter_field(kind: str) -> str:
    """Returns the field of LayerParameter that a type's own parameters are in."""
    return {"BatchNorm": "batch_norm_param"}.get(kind, f"{kind.lower()}_param")


def _batch_statistics(fields: Fields) -> Fields:
    """Returns fields by which a decoder's statistics are its own batches', also where
    the encoder's are fixed: it has no others to begin with."""
    settings = fields.get("batch_norm_param", {})
    settings = {k: v for k, v in settings.items() if k != "use_global_stats"}
    return {"batch_norm_param": settings} if settings else {}
