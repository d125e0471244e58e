"""The ladder network of A2.4 (Rasmus et al. 2015), over macro-layers.

A second encoder, its weights tied to the first one's, is fed with noise at the image
and behind every macro-layer. The decoder starts at its top, and at every level a
combinator merges what comes down, u, with the noisy activation of that level, z~
(lateral connection); the clean encoder's activation is the target. The classification
loss reads the noisy encoder in training, the clean one in the test phase.

The combinator is the augmented multilayer perceptron of Pezeshki et al. (2016), each
channel's own: its inputs are u, z~ and u z~. Without noise, as in the test phase, both
encoders compute the same; inference has one alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from .layers import PHASES, Enum, Fields, Layer, Section, Shape, as_list
from .mirror import (
    Decoding,
    Inversion,
    image_target,
    loss,
    mask_of,
    with_switches,
)
from .networks import multipliers
from .sequence import Activation, Network
from .shapes import inferred
from .variants import Variant

NOISY = "noisy:"
"""How the names of the second encoder's layers and blobs begin."""

NOISE = 0.3
"""Standard deviation of the noise over an activation's root mean square: what Rasmus
et al. (2015) add to normalised activations."""

IMAGE_MAGNITUDE = 0.3
"""Root mean square of a mean-subtracted image, pixels in [0, 1], about (ours)."""

HIDDEN = 4
"""Hidden units of a combinator (ours), leaky by LEAK (Pezeshki et al. 2016)."""
LEAK = 0.1

COMBINATOR_STD = 0.3
"""Of a combinator's Gaussian initialisation (ours): it begins by making smaller."""


# --- encoder


def with_noisy_encoder(
    network: Network, variant: Variant, sections: Sequence[Section], depth: int
) -> list[Section]:
    """Data and clean encoder, of macro-layers 1 to `depth`, and the noisy one."""
    tied, noisy, _ = _encoders(network, variant, sections, depth, depth)
    return [*tied, Section("noisy encoder, weights tied", tuple(noisy))]


def with_noisy_classifier(
    network: Network,
    variant: Variant,
    sections: Sequence[Section],
    depth: int,
    head: Section,
) -> list[Section]:
    """The whole training network with a noisy encoder and classifier besides.

    Noise is added behind every macro-layer but the scores. What no decoder reads of the
    noisy side is there in training alone.
    """
    last = network.max_depth - 1 if network.scores else network.max_depth
    disturbed = max(depth, last)
    tied, noisy, reads = _encoders(network, variant, sections, depth, disturbed)
    title = "noisy encoder and classifier, weights tied"
    losses = _noisy_head(network, head.layers, reads)
    return [
        *tied,
        Section(title, tuple(noisy)),
        replace(head, layers=tuple(losses)),
    ]


def _encoders(
    network: Network,
    variant: Variant,
    sections: Sequence[Section],
    depth: int,
    noisy_depth: int,
) -> tuple[list[Section], list[Layer], dict[str, str]]:
    """Clean sections with named parameters; the noisy encoder's layers; and which of
    its blobs stands for which of the clean one's.

    depth: so many macro-layers are decoded. noisy_depth: noise is added behind so many.
    """
    chain = {
        layer.name
        for macro in network.macro_layers
        for layer in (*macro.layers, *macro.passed)
    }
    decoded = {
        layer.name
        for index, macro in enumerate(network.macro_layers[:depth], start=1)
        for layer in (*macro.layers, *(macro.passed if index < depth else ()))
    }
    image = network.image
    noise = NOISE * IMAGE_MAGNITUDE / network.pixel_scale
    first = f"{NOISY}{image.blob}"
    noisy = [_noise(first, image.blob, first, noise, image.shape)]
    reads = {image.blob: first}
    ends = {
        macro.layers[-1].name: macro for macro in network.macro_layers[:noisy_depth]
    }
    inside = _last_normalisations(network, noisy_depth) if variant.batch_norm else set()
    tied = []
    for section in sections:
        layers = []
        for layer in section.layers:
            if layer.name not in chain or not layer.bottoms:
                clean, disturbed = _split_loss(layer, reads)
                layers += clean
                noisy += disturbed
                continue
            layers.append(_named(layer))
            copies = [_noisy_copy(layers[-1], reads)]
            if layer.name in inside:
                blob = reads[layer.tops[0]]
                name = f"{NOISY}{layer.name}/noise"
                copies.append(_noise(name, blob, blob, NOISE, layer.shape))
            macro = ends.get(layer.name)
            if macro and not (inside and _normalised(macro.layers)):
                blob = reads[layer.tops[0]]
                name = f"{blob}/noise"
                std = NOISE * network.magnitude
                copies.append(_noise(name, blob, name, std, layer.shape))
                reads[layer.tops[0]] = name
            if layer.name in decoded:
                noisy += map(with_switches, copies)
            elif layer.in_phase("TRAIN"):
                noisy += [_in(copy, "TRAIN") for copy in copies]
        tied.append(replace(section, layers=tuple(layers)))
    return tied, noisy, reads


def _noise(name: str, bottom: str, top: str, std: float, shape: Shape) -> Layer:
    fields = {"gaussian_noise_param": {"std": float(f"{std:.3g}")}}
    return Layer(name, "GaussianNoise", (bottom,), (top,), fields, shape)


def _noisy_copy(layer: Layer, reads: dict[str, str]) -> Layer:
    """The layer in the second encoder; `reads` learns what its tops are called."""
    bottoms = tuple(reads[blob] for blob in layer.bottoms)
    in_place = layer.bottoms == layer.tops
    fields = layer.fields
    if in_place and layer.type == "Dropout":  # what it drops, the decoder still reads
        tops = (f"{bottoms[0]}/dropped",)
        fields = _everywhere(fields)
    else:
        tops = bottoms if in_place else tuple(f"{NOISY}{top}" for top in layer.tops)
    reads.update(zip(layer.tops, tops, strict=True))
    name = f"{NOISY}{layer.name}"
    return replace(layer, name=name, bottoms=bottoms, tops=tops, fields=fields)


def _everywhere(fields: Fields) -> Fields:
    """Without rules on where a layer takes part."""
    return {k: v for k, v in fields.items() if k not in ("include", "exclude")}


def _named(layer: Layer) -> Layer:
    """The layer with a name for every parameter, by which another can share it."""
    if not layer.blobs:
        return layer
    given = as_list(layer.fields.get("param"))
    given += [{}] * (len(layer.blobs) - len(given))
    if layer.type == "BatchNorm":
        given = [each | {"lr_mult": 0} for each in given]
    fields = {
        "param": [
            {"name": f"{layer.name}/{index}"} | each for index, each in enumerate(given)
        ]
    }
    fields |= {key: value for key, value in layer.fields.items() if key != "param"}
    return replace(layer, fields=fields)


def _normalised(layers: Sequence[Layer]) -> bool:
    return any(layer.type == "BatchNorm" for layer in layers)


def _last_normalisations(network: Network, depth: int) -> set[str]:
    """The last BatchNorm of each macro-layer that has any."""
    names = set()
    for macro in network.macro_layers[:depth]:
        found = [layer.name for layer in macro.layers if layer.type == "BatchNorm"]
        names.update(found[-1:])
    return names


def obstacle(network: Network) -> str | None:
    """Why a network can have no ladder, a sentence's end; None where it can."""
    if network.limit:
        return (
            "its classification loss lies behind layers that are not copied:"
            f" {network.limit}"
        )
    names: set[str] = set()
    for macro in network.macro_layers:
        for layer in (*macro.layers, *macro.passed):
            if layer.name in names:
                return f"two of its layers are named '{layer.name}'; name one anew"
            names.add(layer.name)
    return None


def has_batch_norm(network: Network) -> bool:
    """Whether a macro-layer normalises."""
    return any(_normalised(macro.layers) for macro in network.macro_layers)


# --- classification loss


def _noisy_head(
    network: Network, head: Sequence[Layer], noisy: dict[str, str]
) -> list[Layer]:
    """Losses read the noisy encoder in training, the clean one in the test phase."""
    result = []
    noisy = dict(noisy)
    for layer in head:
        if layer.type == "Softmax" and layer.bottoms[0] in noisy:
            copy = _noisy_copy(layer, noisy)  # a loss may read it
            result += [layer, _in(copy, "TRAIN")]
            continue
        clean, disturbed = _split_loss(layer, noisy)
        result += disturbed + clean
    scores = network.scores
    if scores and not any(
        scores.blob in layer.bottoms and layer.in_phase("TRAIN") for layer in result
    ):
        silence = Layer(f"{scores.blob}/silence", "Silence", (scores.blob,), ())
        result.append(_in(silence, "TRAIN"))
    return result


def _split_loss(layer: Layer, noisy: dict[str, str]) -> tuple[list[Layer], list[Layer]]:
    """What is left of a layer for the clean encoder, and what moves to the noisy one.

    noisy: clean blob -> noisy blob.
    """
    moved = layer.type.endswith("Loss") and noisy.keys() & set(layer.bottoms)
    if not moved or not layer.in_phase("TRAIN"):
        return [layer], []
    clean = [_in(layer, "TEST")] if layer.in_phase("TEST") else []
    return clean, [_in(layer.reading(noisy), "TRAIN")]


def _in(layer: Layer, phase: str) -> Layer:
    assert phase in PHASES
    fields = {"include": {"phase": Enum(phase)}} | _everywhere(layer.fields)
    return replace(layer, fields=fields)


# --- decoder


def decoder(
    network: Network,
    variant: Variant,
    depth: int,
    decoding: Decoding,
    noisy: bool = True,
) -> list[Section]:
    """Combinator of a_`depth`, then decoder and combinator of each level below it.

    noisy: the second encoder is there; False: what it would give is the clean one's.
    """
    levels = _Levels(network, variant, decoding, noisy)
    top = levels.trail[depth]
    layers = levels.combined(depth, levels.lateral(depth))
    sections = [Section(f"combinator of {top.name}", tuple(layers))]
    for index in range(depth, 0, -1):
        source = f"dec:{levels.trail[index].name}"
        if not variant.stacked:
            source = levels.lateral(index)
        layers = levels.inverted(index, source)
        layers += levels.combined(index - 1, layers[-1].tops[0])
        title = f"decoder of macro-layer {index}, combinator"
        sections.append(Section(title, tuple(layers)))
    extra = levels.scaled_noisy_image()
    if extra:
        sections.insert(0, Section("image in units of [0, 1]", tuple(extra)))
    return sections


class _Levels:
    """What comes down, across and out at each level of the decoder."""

    def __init__(
        self, network: Network, variant: Variant, decoding: Decoding, noisy: bool
    ) -> None:
        self.trail = network.activations
        self._network = network
        self._variant = variant
        self._decoding = decoding
        self._noisy = noisy

    def scaled_noisy_image(self) -> list[Layer]:
        """data/scaled, and its noisy counterpart where there is one."""
        made, target = image_target(self._network)
        if not made:
            return []
        noisy = [
            replace(
                layer,
                name=f"{NOISY}{layer.name}",
                bottoms=tuple(f"{NOISY}{blob}" for blob in layer.bottoms),
                tops=(f"{NOISY}{target}",),
            )
            for layer in made
        ]
        return made + (noisy if self._noisy else [])

    def lateral(self, index: int) -> str:
        """The blob of z~ at a level."""
        if index == 0:
            _, target = image_target(self._network)
            return f"{NOISY}{target}" if self._noisy else target
        macro = self._network.macro_layers[index - 1]
        blob = macro.layers[-1].tops[0]
        if not self._noisy:
            return blob
        if self._variant.batch_norm and _normalised(macro.layers):
            return f"{NOISY}{blob}"
        return f"{NOISY}{blob}/noise"

    def inverted(self, index: int, source: str) -> list[Layer]:
        """The decoder of a macro-layer, down to u of the level below it."""
        below = self.trail[index - 1]
        inversion = Inversion(
            self._network, self._variant.switches, index, self._decoding.rate(index)
        )
        layers = inversion.layers(source, f"dec:{below.name}/down", bounded=False)
        if self._noisy:
            renamed = self._noisy_names(index)
            layers = [layer.reading(renamed) for layer in layers]
        if self._variant.batch_norm and index > 1:
            down = layers[-1].tops[0]
            norm = Layer(f"{down}/batchnorm", "BatchNorm", (down,), (down,))
            _, blobs = inferred(norm, below.shape)
            layers.append(replace(norm, shape=below.shape, blobs=blobs))
        return layers

    def _noisy_names(self, index: int) -> dict[str, str]:
        """Switches come from the noisy encoder; shapes are the same in both."""
        macro = self._network.macro_layers[index - 1]
        names = {}
        for layer in macro.layers:
            if layer.type == "Pooling":
                names[mask_of(layer)] = f"{NOISY}{mask_of(layer)}"
        return names

    def combined(self, index: int, down: str) -> list[Layer]:
        """The combinator of a level, and the loss of what it yields."""
        activation = self.trail[index]
        rate = self._decoding.rate(max(index, 1))
        layers = _combinator(
            activation, down, self.lateral(index), rate, self._magnitude(index)
        )
        if self._decoding.weights:
            weight = self._decoding.weight(index + 1)
            made, _ = image_target(self._network)
            losses = loss(self._network, activation, f"dec:{activation.name}", weight)
            layers += losses[len(made) if index == 0 else 0 :]
        return layers

    def _magnitude(self, index: int) -> float:
        return self._network.magnitude if index else IMAGE_MAGNITUDE


def _combinator(
    activation: Activation, down: str, lateral: str, rate: float, magnitude: float
) -> list[Layer]:
    """z^ = MLP(u, z~, u z~), per channel: 1x1 convolutions with a group a channel.

    The product is divided by the activation's magnitude, to be of its order.
    """
    name = f"dec:{activation.name}"
    channels = activation.shape[0]
    plane = prod(activation.shape[1:])

    def reshaped(source: str, top: str, *shape: int) -> Layer:
        fields = {"reshape_param": {"axis": 1, "shape": {"dim": list(shape)}}}
        return Layer(top, "Reshape", (source,), (top,), fields, shape)

    def mixed(source: str, top: str, outputs: int, shape: Shape) -> Layer:
        window = {"num_output": outputs, "kernel_size": 1}
        window |= {"group": channels} if channels > 1 else {}
        filler = {"type": "gaussian", "std": COMBINATOR_STD}
        window |= {"weight_filler": filler}
        fields: Fields = {"param": multipliers(rate), "convolution_param": window}
        layer = Layer(top, "Convolution", (source,), (top,), fields)
        shape, blobs = inferred(layer, shape)
        return replace(layer, shape=shape, blobs=blobs)

    product = f"{name}/product"
    operation = {"eltwise_param": {"operation": Enum("PROD")}}
    layers = [
        Layer(
            product, "Eltwise", (down, lateral), (product,), operation, activation.shape
        )
    ]
    if magnitude != 1:
        scale = {"power_param": {"scale": float(f"{1 / magnitude:.3g}")}}
        scaled = f"{product}/scale"  # Power's backward pass is wrong in place
        layers.append(
            Layer(scaled, "Power", (product,), (scaled,), scale, activation.shape)
        )
        product = scaled
    inputs = []
    for kind, blob in (("down", down), ("lateral", lateral), ("product", product)):
        inputs.append(f"{name}/{kind}/channels")
        layers.append(reshaped(blob, inputs[-1], channels, 1, plane))
    joined, hidden, output = f"{name}/inputs", f"{name}/hidden", f"{name}/output"
    layers.append(
        Layer(
            joined,
            "Concat",
            tuple(inputs),
            (joined,),
            {"concat_param": {"axis": 2}},
            (channels, 3, plane),
        )
    )
    inputs_of_mlp = reshaped(joined, f"{joined}/channels", 3 * channels, 1, plane)
    layers.append(inputs_of_mlp)
    layers.append(
        mixed(inputs_of_mlp.tops[0], hidden, HIDDEN * channels, inputs_of_mlp.shape)
    )
    leaky = {"relu_param": {"negative_slope": LEAK}}
    layers.append(
        Layer(f"{hidden}/relu", "ReLU", (hidden,), (hidden,), leaky, layers[-1].shape)
    )
    layers.append(mixed(hidden, output, channels, layers[-1].shape))
    last = reshaped(output, f"{output}/reshape", *activation.shape)
    layers.append(replace(last, tops=(name,)))
    return layers
