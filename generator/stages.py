"""Which network each stage trains and with which solver (Section 4.1, Table A-1).

Stage 0 trains the plain classifier (ours), 1 initialises, 2 trains the layerwise
decoders, 3 the stacked decoder, 4 everything.
"""

from dataclasses import dataclass
from math import ceil

from . import paper
from .layers import Enum, Layer, Section
from .mirror import classifier, decoder, encoder
from .networks import Network
from .variants import Variant


@dataclass(frozen=True)
class NetworkFile:
    """A network to be rendered. path: relative to the project's root."""

    path: str
    name: str
    purpose: str
    sections: tuple[Section, ...]

    @property
    def layers(self) -> list[Layer]:
        return [layer for section in self.sections for layer in section.layers]


@dataclass(frozen=True)
class SolverFile:
    """A stage's solver to be rendered.

    path, net, prefix: relative to the project's root, where `caffe train` runs.
    test_iter * the network's test batch covers the test set once.
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
    depth = depth or network.depth
    networks = [train_val(network, variant, depth)]
    stages = [4]
    if not variant.has_decoder:
        stages.insert(0, 0)
    elif variant.stacked:
        networks.append(decoder_alone(network, variant, depth))
        stages.insert(0, 3)
    else:
        networks.append(pretrain(network, variant, depth))
        stages.insert(0, 2)
    networks.append(deploy(network, variant, depth))
    if variant.has_decoder:
        networks.append(reconstruct(network, variant, depth))
    solvers = tuple(solver(network, variant, depth, stage) for stage in stages)
    return Plan(network, variant, depth, tuple(networks), solvers)


# --- networks


def train_val(network: Network, variant: Variant, depth: int) -> NetworkFile:
    """Stage 4: classifier and decoder together (baseline: stages 0 and 4)."""
    losses = (*softmax_loss(network), *accuracy(network))
    sections = [
        data(network, network.schedules[4].batch_size, label=True),
        *encoder(network, network.depth, _masks(variant, depth), frozen=False),
        classifier(network),
        Section("classification loss", losses),
    ]
    if variant.has_decoder:
        sections += decoder(network, variant, depth, network.loss_weights)
        purpose = "Stage 4: encoder, classifier and decoder are trained together."
    else:
        purpose = "Stages 0 and 4: the classifier alone."
    return _file(network, variant, depth, "train_val", purpose, sections)


def decoder_alone(network: Network, variant: Variant, depth: int) -> NetworkFile:
    """Stage 3: the stacked decoder is trained, the encoder fixed."""
    sections = [
        data(network, network.schedules[3].batch_size, label=False),
        *_frozen_encoder(network, variant, depth),
        *decoder(network, variant, depth, network.loss_weights),
    ]
    purpose = "Stage 3: the stacked decoder is trained, the encoder is fixed."
    return _file(network, variant, depth, "decoder", purpose, sections)


def pretrain(network: Network, variant: Variant, depth: int) -> NetworkFile:
    """Stage 2: every macro-layer's decoder is trained independently of the others.

    A decoder's lr_mult is its own learning rate over the solver's base_lr; every loss
    is weighted 1 (Table A-1).
    """
    schedule = network.schedules[2]
    rates = tuple(rate / schedule.base_lr for rate in network.layerwise_lr)
    sections = [
        data(network, schedule.batch_size, label=False),
        *_frozen_encoder(network, variant, depth),
        *decoder(network, variant, depth, weights=(1,), rates=rates),
    ]
    purpose = (
        "Stage 2: every macro-layer's decoder is trained on its own, the encoder fixed."
    )
    return _file(network, variant, depth, "pretrain", purpose, sections)


def deploy(network: Network, variant: Variant, depth: int) -> NetworkFile:
    """Inference: class probabilities and, with a decoder, the reconstructed image."""
    last = network.classifier[-1]
    prob = Layer("prob", "Softmax", (last.name,), ("prob",), {}, (last.num_output,))
    sections = [
        image_input(network),
        *encoder(network, network.depth, _masks(variant, depth), frozen=False),
        classifier(network),
        Section("class probabilities", (prob,)),
    ]
    purpose = "Inference: data -> prob"
    if variant.has_decoder:
        sections += decoder(network, variant, depth, weights=None)
        purpose += " and dec:data, the image in units of [0, 1], less the mean"
    return _file(
        network, variant, depth, "deploy", purpose + ".", _for_inference(sections)
    )


def reconstruct(network: Network, variant: Variant, depth: int) -> NetworkFile:
    """Inference without the classifier: encoder, fixed, and decoder."""
    sections = [
        image_input(network),
        *_frozen_encoder(network, variant, depth),
        *decoder(network, variant, depth, weights=None),
    ]
    purpose = (
        "Reconstruction: data -> dec:data, the image in units of [0, 1], less the mean."
    )
    return _file(network, variant, depth, "reconstruct", purpose, sections)


def _frozen_encoder(network: Network, variant: Variant, depth: int) -> list[Section]:
    sections = encoder(network, depth, _masks(variant, depth), frozen=True)
    if depth > network.depth:
        sections.append(classifier(network, depth - network.depth, frozen=True))
    return sections


def _masks(variant: Variant, depth: int) -> int:
    """How many macro-layers' switches something reads."""
    return depth if variant.switches else 0


def _file(
    network: Network,
    variant: Variant,
    depth: int,
    kind: str,
    purpose: str,
    sections: list[Section],
) -> NetworkFile:
    place = folder(network, variant, depth)
    return NetworkFile(
        f"models/{place}/{kind}.prototxt", place, purpose, tuple(sections)
    )


def _for_inference(sections: list[Section]) -> list[Section]:
    return [
        Section(section.title, tuple(layer.for_inference() for layer in section.layers))
        for section in sections
    ]


# --- what is around encoder and decoder


def data(network: Network, batch_size: int, label: bool) -> Section:
    """The two LMDBs: training and test phase."""
    images = network.data
    tops = ("data", "label") if label else ("data",)
    transform: dict = {"mean_value": list(images.mean_value)}
    if images.crop_size:
        transform["crop_size"] = images.crop_size

    def layer(phase: str, source: str, batch: int, mirror: bool) -> Layer:
        return Layer(
            "data",
            "Data",
            (),
            tops,
            {
                "include": {"phase": Enum(phase)},
                "transform_param": ({"mirror": True} if mirror else {}) | transform,
                "data_param": {
                    "source": f"{images.folder}/{source}",
                    "backend": Enum("LMDB"),
                    "batch_size": batch,
                },
            },
            network.image,
        )

    return Section(
        "data",
        (
            layer("TRAIN", images.train, batch_size, images.mirror),
            layer("TEST", images.test, images.test_batch, mirror=False),
        ),
    )


def image_input(network: Network) -> Section:
    """One image, mean-subtracted, BGR, in units of 0..255."""
    shape = {"shape": {"dim": [1, *network.image]}}
    layer = Layer("data", "Input", (), ("data",), {"input_param": shape}, network.image)
    return Section("data", (layer,))


def softmax_loss(network: Network) -> tuple[Layer, ...]:
    scores = network.classifier[-1].name
    return (Layer("loss", "SoftmaxWithLoss", (scores, "label"), ("loss",)),)


def accuracy(network: Network) -> tuple[Layer, ...]:
    """Top-1, and top-5 where there are more classes than ten, in the test phase."""
    scores = network.classifier[-1]
    test = {"include": {"phase": Enum("TEST")}}
    top1 = Layer("accuracy", "Accuracy", (scores.name, "label"), ("accuracy",), test)
    if scores.num_output <= 10:
        return (top1,)
    name = "accuracy/top5"
    fields = test | {"accuracy_param": {"top_k": 5}}
    return (top1, Layer(name, "Accuracy", (scores.name, "label"), (name,), fields))


# --- solvers

_PURPOSE = {
    0: "Stage 0: trains the plain classifier.",
    2: "Stage 2: trains the layerwise decoders, the encoder fixed.",
    3: "Stage 3: trains the stacked decoder, the encoder fixed.",
    4: "Stage 4: trains encoder, classifier and decoder together.",
}
_NET = {0: "train_val", 2: "pretrain", 3: "decoder", 4: "train_val"}


def solver(network: Network, variant: Variant, depth: int, stage: int) -> SolverFile:
    schedule = network.schedules[stage]
    place = folder(network, variant, depth)
    update = schedule.batch_size * schedule.iter_size
    epoch = network.data.train_images / update
    # Caffe tests after the last iteration only where the interval divides it
    test_interval = ceil(schedule.epochs * epoch / schedule.tests)
    max_iter = test_interval * schedule.tests
    purpose = _PURPOSE[stage]
    if stage == 4 and not variant.has_decoder:
        purpose = "Stage 4: the control, the classifier is trained further as it is."
    return SolverFile(
        path=f"solvers/{place}/stage{stage}.prototxt",
        purpose=purpose,
        why=f"{schedule.why}. {update} images an update, {schedule.epochs:g} epochs.",
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
        test_iter=ceil(network.data.test_images / network.data.test_batch),
        test_interval=test_interval,
    )
