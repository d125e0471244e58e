"""Which network each stage trains and with which solver (Section 4.1, Table A-1).

Stage 0 trains the plain classifier (ours), 1 initialises, 2 trains the layerwise
decoders, 3 the stacked decoder, 4 everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

from . import ladder, paper
from .convolutional import fully_convolutional
from .errors import UserError
from .layers import PHASES, Enum, Fields, Layer, Section
from .mirror import (
    Decoding,
    decoder,
    encoder,
    frozen_encoder,
    image_target,
    loss,
    tapped,
)
from .sequence import Network
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
class SolverFile:
    """A stage's solver to be rendered.

    path, net, prefix: relative to the project's root, where `caffe train` runs.
    test_iter * the network's test batch covers the test set once; 0: there is none.
    given: the fields of a user's own solver, which stand for all the others.
    """

    path: str
    purpose: str
    why: str
    net: str
    prefix: str
    base_lr: float
    step_values: tuple[int, ...]
    momentum: float
    weight_decay: float
    iter_size: int
    max_iter: int
    display: int
    snapshot: int
    test_iter: int
    test_interval: int
    given: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that is generated for one network, variant and decoding depth."""

    network: Network
    variant: Variant
    depth: int
    networks: tuple[NetworkFile, ...]
    solvers: tuple[SolverFile, ...]


def folder(network: Network, variant: Variant, depth: int) -> str:
    """<net>/<variant>, with depth<N>/ below it where N is not the default."""
    base = f"{network.name}/{variant.name}"
    return base if depth == network.depth else f"{base}/depth{depth}"


def plan(network: Network, variant: Variant, depth: int | None = None) -> Plan:
    """What is generated for a variant; depth: None for the network's default."""
    return _Planner(network, variant, depth or network.depth).plan()


class _Planner:
    """Makes the files of one variant and depth."""

    def __init__(self, network: Network, variant: Variant, depth: int) -> None:
        self._network = network
        self._variant = variant
        self._depth = depth
        self._switches = depth if variant.switches else 0

    def plan(self) -> Plan:
        networks = [self.train_val()]
        stages = [4]
        if not self._variant.has_decoder:
            stages.insert(0, 0)
        if self._variant.stacked:
            networks.append(self.decoder_alone())
            stages.insert(0, 3)
        if self._variant.layerwise is self._variant and self._variant.has_decoder:
            networks.append(self.pretrain())
            stages.insert(0, 2)
        networks.append(self.deploy())
        networks += self.deploy_conv()
        if self._variant.has_decoder:
            networks.append(self.reconstruct())
            networks += self.dump()
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
            self._data(4, label=True),
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
        return self._file("train_val", purpose, layers)

    def decoder_alone(self) -> NetworkFile:
        """Stage 3: the stacked decoder is trained, the encoder fixed."""
        purpose = "Stage 3: the stacked decoder is trained, the encoder is fixed."
        decoding = Decoding(self._loss_weights)
        layers = [self._data(3, label=False), *self._frozen(decoding, noisy=True)]
        return self._file("decoder", purpose, layers)

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
            self._data(2, label=False),
            *self._frozen(decoding, noisy=True, variant=self._variant.unstacked),
        ]
        purpose = (
            "Stage 2: every macro-layer's decoder is trained on its own, the encoder"
            " fixed."
        )
        return self._file("pretrain", purpose, layers)

    # --- inference

    def deploy(self) -> NetworkFile:
        """Class probabilities and, with a decoder, the reconstructed image."""
        network = self._network
        layers = [
            image_input(network),
            *_scored(network, encoder(network, network.max_depth, self._switches)),
        ]
        purpose = f"Inference: {network.image.blob} -> "
        found = [layer.tops[0] for layer in layers[-1].layers if layer.tops]
        purpose += found[-1] if found else "scores"
        if self._variant.has_decoder:
            layers += self._decoder(Decoding(None))
            purpose += f" and dec:{network.image.name}, {_UNITS}"
        return self._file("deploy", purpose + ".", for_inference(layers))

    def deploy_conv(self) -> list[NetworkFile]:
        """Class probabilities of an image of any size, averaged over the grid
        (Section 4.3, "convolution"); none for what has no convolution."""
        layers = fully_convolutional(self._network)
        if layers is None:
            return []
        purpose = (
            "Inference on images of any size, the class scores averaged over the grid:"
            f" {self._network.image.blob} -> prob."
        )
        sections = [image_input(self._network), *layers]
        return [self._file("deploy_conv", purpose, for_inference(sections))]

    def reconstruct(self) -> NetworkFile:
        """Inference without the classifier: encoder, fixed, and decoder."""
        layers = [image_input(self._network), *self._frozen(Decoding(None))]
        image = self._network.image
        purpose = f"Reconstruction: {image.blob} -> dec:{image.name}, {_UNITS}."
        return self._file("reconstruct", purpose, layers)

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
        made = {layer.name for section in layers for layer in section.layers}
        pairs = [la for la in dumped(self._network) if la.name not in made]
        layers.append(Section("image and reconstruction", tuple(pairs)))
        purpose = (
            f"Writes image and reconstruction side by side to {DUMP_PREFIX}; mean: the"
            f" mean image, in the units of {image.blob}."
        )
        return [self._file("dump", purpose, layers)]

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

    def _data(self, stage: int, label: bool) -> Section:
        training = self._network.training
        batch_size = training.schedules[stage].batch_size if training else 1
        image = self._network.image
        decoded = self._variant.has_decoder
        layers = self._network.data.layers(image, batch_size, label, decoded)
        return Section("data", tuple(layers))

    def _file(self, kind: str, purpose: str, sections: list[Section]) -> NetworkFile:
        place = folder(self._network, self._variant, self._depth)
        fields = dict(self._network.fields)
        file = NetworkFile(
            f"models/{place}/{kind}.prototxt",
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
        made: dict[str, str] = {}
        for layer in file.layers:
            if not layer.in_phase(phase):
                continue
            for top in layer.tops:
                if top in made and top not in layer.bottoms:
                    raise UserError(
                        f"the layers '{made[top]}' and '{layer.name}' would both make"
                        f" the blob '{top}' in {file.kind}.prototxt; give the network's"
                        " own another name."
                    )
                made[top] = layer.name


_UNITS = "the image in units of [0, 1], less the mean"


def for_inference(sections: Iterable[Section]) -> list[Section]:
    """The same without multipliers and fillers."""
    return [
        Section(section.title, tuple(layer.for_inference() for layer in section.layers))
        for section in sections
    ]


def image_input(network: Network, *others: str) -> Section:
    """One image, mean-subtracted, BGR, in units of 0..255; others of its shape."""
    shape = {"shape": {"dim": [1, *network.image.shape]}}
    layers = [
        Layer(blob, "Input", (), (blob,), {"input_param": shape}, network.image.shape)
        for blob in (network.image.blob, *others)
    ]
    return Section("data", tuple(layers))


TRAINED_ONLY = ("Accuracy", "Silence", "HDF5Output")


def _scored(network: Network, sections: list[Section]) -> list[Section]:
    """Without what needs labels; with probabilities where there are scores.

    The last section holds what follows the scores; it may be empty.
    """
    before = [layer for layer in _given(network) if layer.bottoms]
    known = {network.image.blob}
    result = [
        Section(title, _computable(layers, known))
        for title, layers in [
            ("before the first macro-layer", before),
            *((section.title, section.layers) for section in sections),
        ]
    ]
    after = _computable(network.head, known)
    scores = network.scores
    softened = any(layer.type == "Softmax" for layer in after)
    if scores and not softened:
        prob = Layer("prob", "Softmax", (scores.blob,), ("prob",), {}, scores.shape)
        after = (*after, prob)
    return [*result, Section("class probabilities", after)]


def _given(network: Network) -> tuple[Layer, ...]:
    return getattr(network.data, "given", ())


def _computable(layers: Iterable[Layer], known: set[str]) -> tuple[Layer, ...]:
    """Those that the known blobs suffice for, in the test phase; theirs are known,
    too, then."""
    kept = []
    for layer in layers:
        trained = layer.type in TRAINED_ONLY or layer.type.endswith("Loss")
        if trained or not layer.bottoms or not layer.in_phase("TEST"):
            continue
        if known.issuperset(layer.bottoms):
            kept.append(layer)
            known.update(layer.tops)
    return tuple(kept)


DUMP_PREFIX = "dump/dec_data_add-mean/"


def dumped(network: Network) -> list[Layer]:
    """Adds the mean to both, puts them side by side, writes them; and their loss."""
    image = network.image
    copy = f"dec:{image.name}"
    _, target = image_target(network)
    layers = loss(network, image, copy, 1)
    mean = "mean"
    if network.pixel_scale != 1:
        mean = "mean/scaled"
        scale = {"power_param": {"scale": network.pixel_scale}}
        layers.append(Layer(mean, "Power", ("mean",), (mean,), scale, image.shape))
    pixels = []
    for blob in (target, copy):
        name = f"{blob}/add-mean"
        add = {"eltwise_param": {"operation": Enum("SUM")}}
        layers.append(Layer(name, "Eltwise", (blob, mean), (name,), add, image.shape))
        pixels.append(name)
    pair = f"dec:pair@{pixels[0]}"
    beside = (*image.shape[:2], 2 * image.shape[2])
    layers.append(
        Layer(
            pair,
            "Concat",
            tuple(pixels),
            (pair,),
            {"concat_param": {"axis": 3}},
            beside,
        )
    )
    fields = {"image_output_param": {"output_prefix": DUMP_PREFIX}}
    dump = f"dec:dump@{pixels[0]}"
    return [*layers, Layer(dump, "ImageOutput", (pair,), (), fields)]


# --- solvers

_PURPOSE = {
    0: "Stage 0: trains the plain classifier.",
    2: "Stage 2: trains the layerwise decoders, the encoder fixed.",
    3: "Stage 3: trains the stacked decoder, the encoder fixed.",
    4: "Stage 4: trains encoder, classifier and decoder together.",
}
_NET = {0: "train_val", 2: "pretrain", 3: "decoder", 4: "train_val"}


def solver(network: Network, variant: Variant, depth: int, stage: int) -> SolverFile:
    """The solver of a stage; the network has a data set to train with."""
    schedule = network.training.schedules[stage]
    data = network.data
    place = folder(network, variant, depth)
    update = schedule.batch_size * schedule.iter_size
    epoch = data.train_images / update
    # Caffe tests after the last iteration only where the interval divides it
    test_interval = ceil(schedule.epochs * epoch / schedule.tests)
    max_iter = test_interval * schedule.tests
    purpose = _PURPOSE[stage]
    images = f"{update} images an update"
    few = getattr(data, "few_labels", None)
    if few and stage in (0, 4):
        half = schedule.batch_size // 2 * schedule.iter_size
        images = f"{half} images with labels an update"
        if variant.has_decoder:
            images += f", {update - half} without"
    if stage == 4 and not variant.has_decoder:
        purpose = "Stage 4: the control, the classifier is trained further as it is."
    return SolverFile(
        path=f"solvers/{place}/stage{stage}.prototxt",
        purpose=purpose,
        why=f"{schedule.why}. {images}, {schedule.epochs:g} epochs"
        + (f" of {data.train_images:,} images." if few else "."),
        net=f"models/{place}/{_NET[stage]}.prototxt",
        prefix=f"runs/{place}/stage{stage}/snapshot",
        base_lr=schedule.base_lr,
        step_values=tuple(round(step * epoch) for step in schedule.steps),
        momentum=paper.MOMENTUM,
        weight_decay=schedule.weight_decay,
        iter_size=schedule.iter_size,
        max_iter=max_iter,
        display=schedule.display,
        snapshot=ceil(max_iter / schedule.snapshots),
        test_iter=ceil(data.test_images / data.test_batch),
        test_interval=test_interval,
        given=_own_solver(network) if stage == 0 else {},
    )


_REPLACED = (
    *("net", "net_param", "train_net", "train_net_param", "test_net"),
    *("test_net_param", "snapshot_prefix", "solver_mode", "device_id", "random_seed"),
    *("weights", "train_state", "test_state", "snapshot_format"),
)
"""What the stage decides, whatever a user's solver says."""


def _own_solver(network: Network) -> Fields:
    own = network.training.solver
    return {key: value for key, value in own.items() if key not in _REPLACED}
