"""The ladder network of A2.4 (Rasmus et al. 2015), over macro-layers.

A second encoder, its weights tied to the first one's, is fed with noise at the image
and behind every macro-layer. The decoder starts at its top, and at every level a
combinator merges what comes down, u, with the noisy activation of that level, z~
(lateral connection); the clean encoder's activation is the target. The classification
loss reads the noisy encoder in training, the clean one in the test phase.

Without noise, as in the test phase, both encoders compute the same; inference has one
alone.
"""

from collections.abc import Sequence
from dataclasses import replace

from . import names
from .combinator import combinator
from .decoder import Decoding, Inversion, image_target, loss
from .encoder import mask_of, with_switches
from .layers import PHASES, Enum, Fields, Layer, Section, Shape, as_list
from .sequence import MacroLayer, Network
from .shapes import inferred
from .variants import Variant

NOISE = 0.3
"""Standard deviation of the noise over an activation's root mean square: what Rasmus
et al. (2015) add to normalised activations."""

IMAGE_MAGNITUDE = 0.3
"""Root mean square of a mean-subtracted image, pixels in [0, 1], about (ours)."""


# --- encoder


def with_noisy_encoder(
    network: Network, variant: Variant, sections: Sequence[Section], depth: int
) -> list[Section]:
    """Returns data, clean encoder, of macro-layers 1 to `depth`, and noisy encoder."""
    noisy = _NoisyEncoder(network, variant, depth, depth)
    tied = [noisy.tied(section) for section in sections]
    return [*tied, Section("noisy encoder, weights tied", tuple(noisy.layers))]


def with_noisy_classifier(
    network: Network,
    variant: Variant,
    sections: Sequence[Section],
    depth: int,
    head: Section,
) -> list[Section]:
    """Returns the whole training network with a noisy encoder and classifier besides.

    Noise is added behind every macro-layer but the scores. What no decoder reads of the
    noisy side is there in training alone.
    """
    last = network.max_depth - 1 if network.scores else network.max_depth
    noisy = _NoisyEncoder(network, variant, depth, max(depth, last))
    tied = [noisy.tied(section) for section in sections]
    title = "noisy encoder and classifier, weights tied"
    losses = _noisy_head(network, head.layers, noisy.reads)
    return [
        *tied,
        Section(title, tuple(noisy.layers)),
        replace(head, layers=tuple(losses)),
    ]


class _NoisyEncoder:
    """The second encoder, which grows along with the clean one.

    layers: its layers so far. reads: which of its blobs stands for which of the clean
    one's.
    """

    def __init__(
        self, network: Network, variant: Variant, depth: int, noisy_depth: int
    ) -> None:
        """depth: so many macro-layers are decoded. noisy_depth: noise is added behind
        so many."""
        macro_layers = network.macro_layers
        self._chain = {
            layer.name for macro in macro_layers for layer in _all_layers(macro)
        }
        self._decoded = {
            layer.name
            for index, macro in enumerate(macro_layers[:depth], start=1)
            for layer in (_all_layers(macro) if index < depth else macro.layers)
        }
        self._ends = {
            macro.layers[-1].name: macro for macro in macro_layers[:noisy_depth]
        }
        self._normalisations = (
            _last_normalisations(network, noisy_depth) if variant.batch_norm else set()
        )
        self._std = NOISE * network.magnitude
        image = network.image
        noise = NOISE * IMAGE_MAGNITUDE / network.pixel_scale
        first = names.noisy(image.blob)
        self.layers = [_noise(first, image.blob, first, noise, image.shape)]
        self.reads = {image.blob: first}

    def tied(self, section: Section) -> Section:
        """Returns a section of the clean encoder, its parameters named so that the
        layers that are added here share them."""
        layers: list[Layer] = []
        for layer in section.layers:
            if layer.name in self._chain and layer.bottoms:
                layers.append(_named(layer))
                self._follow(layers[-1])
            else:
                clean, disturbed = _split_loss(layer, self.reads)
                layers += clean
                self.layers += disturbed
        return replace(section, layers=tuple(layers))

    def _follow(self, layer: Layer) -> None:
        """Adds the copy of a layer with named parameters, and its noise."""
        copies = [_noisy_copy(layer, self.reads), *self._added_noise(layer)]
        if layer.name in self._decoded:
            self.layers += map(with_switches, copies)
        elif layer.in_phase("TRAIN"):
            self.layers += [_in(copy, "TRAIN") for copy in copies]

    def _added_noise(self, layer: Layer) -> list[Layer]:
        """Noise behind a macro-layer or, with batch normalisation, in place behind its
        last normalisation."""
        top = layer.tops[0]
        noises = []
        if layer.name in self._normalisations:
            blob, name = self.reads[top], f"{names.noisy(layer.name)}/noise"
            noises.append(_noise(name, blob, blob, NOISE, layer.shape))
        macro = self._ends.get(layer.name)
        if macro and not (self._normalisations and _normalised(macro.layers)):
            blob = self.reads[top]
            self.reads[top] = f"{blob}/noise"
            noises.append(
                _noise(self.reads[top], blob, self.reads[top], self._std, layer.shape)
            )
        return noises


def _all_layers(macro: MacroLayer) -> tuple[Layer, ...]:
    return (*macro.layers, *macro.passed)


def _noise(name: str, bottom: str, top: str, std: float, shape: Shape) -> Layer:
    fields = {"gaussian_noise_param": {"std": float(f"{std:.3g}")}}
    return Layer(name, "GaussianNoise", (bottom,), (top,), fields, shape)


def _noisy_copy(layer: Layer, reads: dict[str, str]) -> Layer:
    """Returns the layer in the second encoder; `reads` learns what its tops are
    called."""
    bottoms = tuple(reads[blob] for blob in layer.bottoms)
    in_place = layer.bottoms == layer.tops
    fields = layer.fields
    if in_place and layer.type == "Dropout":  # what it drops, the decoder still reads
        tops = (f"{bottoms[0]}/dropped",)
        fields = _everywhere(fields)
    else:
        tops = bottoms if in_place else tuple(map(names.noisy, layer.tops))
    reads.update(zip(layer.tops, tops, strict=True))
    name = names.noisy(layer.name)
    return replace(layer, name=name, bottoms=bottoms, tops=tops, fields=fields)


def _everywhere(fields: Fields) -> Fields:
    """Without rules on where a layer takes part."""
    return {k: v for k, v in fields.items() if k not in ("include", "exclude")}


def _named(layer: Layer) -> Layer:
    """Returns the layer with a name for every parameter: another can share it so."""
    if not layer.blobs:
        return layer
    specs = as_list(layer.fields.get("param"))
    specs += [{}] * (len(layer.blobs) - len(specs))
    if layer.type == "BatchNorm":
        specs = [spec | {"lr_mult": 0} for spec in specs]
    fields = {
        "param": [
            {"name": f"{layer.name}/{index}"} | spec for index, spec in enumerate(specs)
        ]
    }
    fields |= {key: value for key, value in layer.fields.items() if key != "param"}
    return replace(layer, fields=fields)


def _normalised(layers: Sequence[Layer]) -> bool:
    return any(layer.type == "BatchNorm" for layer in layers)


def _last_normalisations(network: Network, depth: int) -> set[str]:
    """Returns the last BatchNorm of each macro-layer that has any."""
    last: set[str] = set()
    for macro in network.macro_layers[:depth]:
        found = [layer.name for layer in macro.layers if layer.type == "BatchNorm"]
        last.update(found[-1:])
    return last


def obstacle(network: Network) -> str | None:
    """Returns why a network can have no ladder, a sentence's end; None where it can."""
    if network.limit:
        return (
            "its classification loss lies behind layers that are not copied:"
            f" {network.limit}"
        )
    known: set[str] = set()
    for macro in network.macro_layers:
        for layer in _all_layers(macro):
            if layer.name in known:
                return f"two of its layers are named '{layer.name}'; name one anew"
            known.add(layer.name)
    return None


def has_batch_norm(network: Network) -> bool:
    """Tells whether a macro-layer normalises."""
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
    """Returns what is left of a layer for the clean encoder, and what moves to the
    noisy one.

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
    """Returns the top combinator, then each lower level's decoder and combinator.

    noisy: the second encoder is there; False: what it would give is the clean one's.
    """
    levels = _Levels(network, variant, decoding, noisy)
    top = levels.trail[depth]
    layers = levels.combined(depth, levels.lateral(depth))
    sections = [Section(f"combinator of {top.name}", tuple(layers))]
    for index in range(depth, 0, -1):
        source = names.decoded(levels.trail[index].name)
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
        """Returns data/scaled, and its noisy counterpart where there is one."""
        made, target = image_target(self._network)
        if not made:
            return []
        noisy = [
            replace(
                layer,
                name=names.noisy(layer.name),
                bottoms=tuple(map(names.noisy, layer.bottoms)),
                tops=(names.noisy(target),),
            )
            for layer in made
        ]
        return made + (noisy if self._noisy else [])

    def lateral(self, index: int) -> str:
        """Returns the blob of z~ at a level."""
        if index == 0:
            _, target = image_target(self._network)
            return names.noisy(target) if self._noisy else target
        macro = self._network.macro_layers[index - 1]
        blob = macro.layers[-1].tops[0]
        if not self._noisy:
            return blob
        if self._variant.batch_norm and _normalised(macro.layers):
            return names.noisy(blob)
        return f"{names.noisy(blob)}/noise"

    def inverted(self, index: int, source: str) -> list[Layer]:
        """Returns the decoder of a macro-layer, down to u of the level below it."""
        below = self.trail[index - 1]
        inversion = Inversion(
            self._network, self._variant.switches, index, self._decoding.rate(index)
        )
        layers = inversion.layers(
            source, f"{names.decoded(below.name)}/down", bounded=False
        )
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
        masks = [mask_of(la) for la in macro.layers if la.type == "Pooling"]
        return {mask: names.noisy(mask) for mask in masks}

    def combined(self, index: int, down: str) -> list[Layer]:
        """Returns the combinator of a level, and the loss of what it yields."""
        activation = self.trail[index]
        rate = self._decoding.rate(max(index, 1))
        layers = combinator(
            activation, down, self.lateral(index), rate, self._magnitude(index)
        )
        if self._decoding.weights:
            weight = self._decoding.weight(index + 1)
            made, _ = image_target(self._network)
            losses = loss(
                self._network, activation, names.decoded(activation.name), weight
            )
            layers += losses[len(made) if index == 0 else 0 :]
        return layers

    def _magnitude(self, index: int) -> float:
        return self._network.magnitude if index else IMAGE_MAGNITUDE
