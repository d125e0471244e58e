"""The augmented architectures of Section 3.2, as three choices each."""

from dataclasses import dataclass, replace

from .errors import lookup


@dataclass(frozen=True)
class Variant:
    """name, and how the decoder is built.

    switches: unpooling uses the encoder's pooling switches (SWWAE) or, False, a fixed
        place in the window (SAE); None: there is no decoder.
    stacked: a macro-layer's decoder reads the decoder above it (Figure 2a, 2b) rather
        than the encoder's activation (Figure 2c).
    all_losses: every macro-layer's activation is reconstructed (Figure 2b, 2c) rather
        than the image alone (Figure 2a).
    ladder: a second, noisy encoder and lateral connections (Figure 3, A2.4).
    batch_norm: of a ladder: noise goes where the encoder normalises, and the decoder
        normalises, too (Rasmus et al. 2015).
    """

    name: str
    title: str
    switches: bool | None
    stacked: bool
    all_losses: bool
    ladder: bool = False
    batch_norm: bool = False

    @property
    def has_decoder(self) -> bool:
        return self.switches is not None

    @property
    def layerwise(self) -> "Variant":
        """The family's layerwise variant, whose stage 2 this variant starts from."""
        family = self.name.partition("-")[0]
        return VARIANTS.get(f"{family}-layerwise", self)

    @property
    def unstacked(self) -> "Variant":
        """The same decoders, each fed by the encoder: what stage 2 trains."""
        return replace(self, stacked=False)


def _family(prefix: str, title: str, switches: bool) -> list[Variant]:
    def variant(kind: str, rest: str, stacked: bool, all_losses: bool) -> Variant:
        name = f"{prefix}-{kind}"
        return Variant(name, f"{title}, {rest}", switches, stacked, all_losses)

    return [
        variant("first", "stacked, image loss", True, False),
        variant("all", "stacked, all losses", True, True),
        variant("layerwise", "one decoder a macro-layer", False, True),
    ]


VARIANTS = {
    variant.name: variant
    for variant in [
        Variant("baseline", "the classifier alone", None, False, False),
        *_family("sae", "fixed unpooling", switches=False),
        *_family("swwae", "unpooling with known switches", switches=True),
        Variant("ladder", "noisy encoder, lateral connections", True, True, True, True),
    ]
}


def find_variant(name: str) -> Variant:
    """Returns a variant by its name; raises UserError naming the known ones."""
    return lookup("variant", name, VARIANTS)
