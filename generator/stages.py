"""The networks of the stages, and those for inference: what is generated.

Which stages there are and what they work on is `recipe`'s.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from . import ladder, layout, names
from .convolutional import fully_convolutional
from .decoder import Decoding, decoder
from .encoder import encoder, frozen_encoder, tapped
from .errors import UserError
from .inference import DUMP_PREFIX, UNITS, dumped, for_inference, image_input, scored
from .layers import PHASES, Fields, Layer, Section
from .recipe import STAGES, stages_owned_by
from .sequence import Network
from .solvers import SolverFile, folder, solver
from .variants import Variant


@dataclass(frozen=True)
class NetworkFile:
    """A network to be rendered. path: relative to the project's root.

    fields: of the file itself, such as force_backward.
    """

    path: str
    name: str
    purpose: str
    sections: tuple[Section, ...]
    fields: Fields = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """train_val, decoder, pretrain, deploy, deploy_conv, reconstruct or dump."""
        return self.path.rpartition("/")[2].removesuffix(".prototxt")

    @property
    def layers(self) -> list[Layer]:
        return [layer for section in self.sections for layer in section.layers]


@dataclass(frozen=True)
class Plan:
    """Everything that is generated for one network, variant and decoding depth."""

    network: Network
    variant: Variant
    depth: int
    networks: tuple[NetworkFile, ...]
    solvers: tuple[SolverFile, ...]

    def without(self, kinds: Collection[str]) -> "Plan":
        """Returns the plan without the networks of some kinds."""
        kept = tuple(file for file in self.networks if file.kind not in kinds)
        return replace(self, networks=kept)


def plan(network: Network, variant: Variant, depth: int | None = None) -> Plan:
    """Returns what is generated for a variant; depth: None for the network's default.

    Raises UserError where a user's network has a name that augmentation gives.
    """
    return _Planner(network, variant, depth or network.depth).plan()


class _Planner:
    """Makes the files of one variant and depth."""

    def __init__(self, network: Network, variant: Variant, depth: int) -> None:
        self._network = network
        self._variant = variant
        self._depth = depth
        self._switches = depth if variant.switches else 0

    def plan(self) -> Plan:
        stages = stages_owned_by(self._variant)
        trained = {stage.network for stage in stages}
        networks = [self.train_val()]
        if names.DECODER_ALONE in trained:
            networks.append(self.decoder_alone())
        if names.PRETRAIN in trained:
            networks.append(self.pretrain())
        networks.append(self.deploy())
        if self._variant.has_decoder:
            networks += [self.reconstruct(), *self.dump()]
        else:
            networks += self.deploy_conv()
        if self._network.training is None:
            stages = []
        solvers = tuple(
            solver(self._network, self._variant, self._depth, stage) for stage in stages
        )
        return Plan(self._network, self._variant, self._depth, tuple(networks), solvers)

    # --- what is trained

    def train_val(self) -> NetworkFile:
        """Stage 4: classifier and decoder together (baseline: stages 0 and 4)."""
        variant, depth = self._variant, self._depth
        network = self._network
        if variant.has_decoder:
            network = tapped(network, depth)
        switches = 0 if variant.ladder else self._switches
        layers = [
            self._data(4),
            *encoder(network, network.max_depth, switches),
        ]
        head = Section(self._head_title, network.head)
        decoding = Decoding(self._loss_weights)
        purpose = "Stage 4: encoder, classifier and decoder are trained together."
        if variant.ladder:
            layers = ladder.with_noisy_classifier(network, variant, layers, depth, head)
            layers += ladder.decoder(network, variant, depth, decoding)
        else:
            layers.append(head)
            if variant.has_decoder:
                layers += decoder(network, variant, depth, decoding)
            else:
                purpose = "Stages 0 and 4: the classifier alone."
        return self._file(names.TRAIN_VAL, purpose, layers)

    def decoder_alone(self) -> NetworkFile:
        """Stage 3: the stacked decoder is trained, the encoder fixed."""
        purpose = "Stage 3: the stacked decoder is trained, the encoder is fixed."
        decoding = Decoding(self._loss_weights)
        layers = [self._data(3), *self._frozen(decoding, noisy=True)]
        return self._file(names.DECODER_ALONE, purpose, layers)

    def pretrain(self) -> NetworkFile:
        """Stage 2: every macro-layer's decoder is trained independently of the others.

        A decoder's lr_mult is its own learning rate over the solver's base_lr; every
        loss is weighted 1 (Table A-1).
        """
        rates = None
        if training := self._network.training:
            base = training.schedules[2].base_lr
            rates = tuple(rate / base for rate in training.layerwise_lr)
        decoding = Decoding((1,), rates)
        layers = [
            self._data(2),
            *self._frozen(decoding, noisy=True, variant=self._variant.unstacked),
        ]
        purpose = (
            "Stage 2: every macro-layer's decoder is trained on its own, the encoder"
            " fixed."
        )
        return self._file(names.PRETRAIN, purpose, layers)

    # --- inference

    def deploy(self) -> NetworkFile:
        """Class probabilities and, with a decoder, the reconstructed image."""
        network = self._network
        layers = [
            image_input(network),
            *scored(network, encoder(network, network.max_depth, self._switches)),
        ]
        purpose = f"Inference: {network.image.blob} -> "
        found = [layer.tops[0] for layer in layers[-1].layers if layer.tops]
        purpose += found[-1] if found else "scores"
        if self._variant.has_decoder:
            layers += self._decoder(Decoding(None))
            purpose += f" and {names.decoded(network.image.name)}, {UNITS}"
        return self._file(names.DEPLOY, purpose + ".", for_inference(layers))

    def deploy_conv(self) -> list[NetworkFile]:
        """Class probabilities of an image of any size, averaged over the grid
        (Section 4.3, "convolution"); none for what has no convolution."""
        layers = fully_convolutional(self._network)
        if layers is None:
            return []
        purpose = (
            "Inference on images of any size, the class scores averaged over the grid:"
            f" {self._network.image.blob} -> {names.PROBABILITIES}."
        )
        sections = [image_input(self._network), *layers]
        return [self._file(names.DEPLOY_CONV, purpose, for_inference(sections))]

    def reconstruct(self) -> NetworkFile:
        """Inference without the classifier: encoder, fixed, and decoder."""
        layers = [image_input(self._network), *self._frozen(Decoding(None))]
        image = self._network.image
        purpose = (
            f"Reconstruction: {image.blob} -> {names.decoded(image.name)}, {UNITS}."
        )
        return self._file(names.RECONSTRUCT, purpose, layers)

    def dump(self) -> list[NetworkFile]:
        """Image and reconstruction side by side, written to files; only for images
        of one or three channels."""
        image = self._network.image
        if len(image.shape) != 3 or image.shape[0] not in (1, 3):
            return []
        tops = (t for m in self._network.macro_layers for la in m.body for t in la.tops)
        if "mean" in (image.blob, *tops):
            return []
        layers = [image_input(self._network, "mean"), *self._frozen(Decoding(None))]
        known = {layer.name for section in layers for layer in section.layers}
        pairs = [la for la in dumped(self._network) if la.name not in known]
        layers.append(Section("image and reconstruction", tuple(pairs)))
        purpose = (
            f"Writes image and reconstruction side by side to {DUMP_PREFIX}; mean: the"
            f" mean image, in the units of {image.blob}."
        )
        return [self._file(names.DUMP, purpose, layers)]

    # --- parts

    def _frozen(
        self,
        decoding: Decoding,
        noisy: bool = False,
        variant: Variant | None = None,
    ) -> list[Section]:
        """Fixed encoder and decoder; noisy: of a ladder, both encoders."""
        noisy = noisy and self._variant.ladder
        switches = bool(self._switches) and not noisy
        layers = frozen_encoder(self._network, self._depth, switches)
        if noisy:
            layers = ladder.with_noisy_encoder(
                self._network, self._variant, layers, self._depth
            )
        return layers + self._decoder(decoding, variant, noisy)

    def _decoder(
        self, decoding: Decoding, variant: Variant | None = None, noisy: bool = False
    ) -> list[Section]:
        variant = variant or self._variant
        network, depth = self._network, self._depth
        if variant.ladder:
            return ladder.decoder(network, variant, depth, decoding, noisy)
        return decoder(network, variant, depth, decoding)

    @property
    def _loss_weights(self) -> tuple[float, ...]:
        training = self._network.training
        return training.loss_weights if training else (1.0,)

    @property
    def _head_title(self) -> str:
        known = self._network.scores and not self._network.limit
        return "classification loss" if known else "further layers"

    def _data(self, stage: int) -> Section:
        training = self._network.training
        batch_size = training.schedules[stage].batch_size if training else 1
        image = self._network.image
        decoded = self._variant.has_decoder
        label = not STAGES[stage].fixed_encoder
        layers = self._network.data.layers(image, batch_size, label, decoded)
        return Section("data", tuple(layers))

    def _file(self, kind: str, purpose: str, sections: list[Section]) -> NetworkFile:
        place = folder(self._network, self._variant, self._depth)
        fields = dict(self._network.fields)
        file = NetworkFile(
            layout.network_path(place, kind),
            fields.pop("name", place),
            purpose,
            tuple(section for section in sections if section.layers),
            fields,
        )
        _check_unique(file)
        return file


def _check_unique(file: NetworkFile) -> None:
    """Raises UserError where augmentation gives a name that a user's file has."""
    for phase in PHASES:
        makers: dict[str, str] = {}
        for layer in file.layers:
            if not layer.in_phase(phase):
                continue
            for top in layer.tops:
                if top in makers and top not in layer.bottoms:
                    raise UserError(
                        f"the layers '{makers[top]}' and '{layer.name}' would both make"
                        f" the blob '{top}' in {file.kind}.prototxt; give the network's"
                        " own another name."
                    )
                makers[top] = layer.name
