"""The networks that can be augmented: one short description each.

A network is L convolution-pooling macro-layers, each turning a_{l-1} into a_l, and
the inner products that classify a_L (Section 3.1). Nothing else in the project
repeats what stands here.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches

from . import paper
from .errors import UserError


@dataclass(frozen=True)
class Convolution:
    """A convolution with ReLU; sizes in pixels, square."""

    name: str
    num_output: int
    kernel_size: int = 3
    stride: int = 1
    pad: int = 1


@dataclass(frozen=True)
class Pooling:
    """Max pooling; sizes in pixels, square, the output size rounded up."""

    kernel_size: int = 2
    stride: int = 2
    pad: int = 0


@dataclass(frozen=True)
class InnerProduct:
    """An inner product; all but the last one with ReLU and dropout."""

    name: str
    num_output: int
    dropout: float = 0.5


@dataclass(frozen=True)
class MacroLayer:
    convolutions: tuple[Convolution, ...]
    pooling: Pooling | None = Pooling()

    @property
    def last(self) -> str:
        """The name that the decoder of this macro-layer's output goes by."""
        return self.convolutions[-1].name


@dataclass(frozen=True)
class DataSet:
    """LMDBs of Caffe Datums and what is done to their images.

    folder: holds the two LMDBs, relative to the project's root.
    mean_value: one value a channel (BGR), subtracted from pixels in 0..255.
    crop_size: side of the square crop, random in training; 0: none.
    resize: length of the shorter edge before a test crop is taken; 0: none.
    """

    folder: str
    train: str
    test: str
    mean_value: tuple[float, ...]
    train_images: int
    test_images: int
    test_batch: int
    crop_size: int = 0
    mirror: bool = False
    resize: int = 0


@dataclass(frozen=True)
class Schedule:
    """How a stage's SGD runs.

    batch_size images go through the network at once, iter_size times per update.
    why: where the figures come from, printed above them in the solver.
    """

    base_lr: float
    epochs: float
    batch_size: int
    why: str
    iter_size: int = 1
    steps: tuple[float, ...] = ()  # epochs after which the rate falls to a tenth
    weight_decay: float = 0.0005
    display: int = 20
    snapshots: int = 10  # over the whole run
    tests: int = 4  # over the whole run


@dataclass(frozen=True)
class Network:
    """A sequential classifier.

    image: channels, height, width of the input.
    input_blob: what the first convolution reads: "data" (mean-subtracted, in units of
        0..255) or "data/scaled" (the same times 1/255).
    loss_weights: gamma of a_0 ... a_{L-1} for *-all and *-layerwise; *-first uses the
        first alone.
    layerwise_lr: stage-2 learning rate of macro-layer 1 ... L.
    schedules: by stage, 0 to 4 (1 trains nothing).
    """

    name: str
    title: str
    image: tuple[int, int, int]
    macro_layers: tuple[MacroLayer, ...]
    classifier: tuple[InnerProduct, ...]
    data: DataSet
    loss_weights: tuple[float, ...]
    layerwise_lr: tuple[float, ...]
    schedules: dict[int, Schedule] = field(hash=False)
    input_blob: str = "data"
    decoder_std: float = paper.DECODER_STD

    def __post_init__(self) -> None:
        if self.schedules[0].batch_size != self.schedules[4].batch_size:
            raise ValueError(
                f"{self.name}: stages 0 and 4 share a network and its batch"
            )

    @property
    def depth(self) -> int:
        """L, the last convolution-pooling macro-layer: the default decoding depth."""
        return len(self.macro_layers)

    @property
    def max_depth(self) -> int:
        """The deepest layer that can be decoded from: the classifier's last."""
        return self.depth + len(self.classifier)


def vgg_macro_layer(index: int, convolutions: int, num_output: int) -> MacroLayer:
    """`convolutions` 3x3 convolutions conv<index>_1, ... and 2x2 max pooling."""
    names = (f"conv{index}_{i + 1}" for i in range(convolutions))
    return MacroLayer(tuple(Convolution(name, num_output) for name in names))


VGG16 = Network(
    name="vgg16",
    title="16-layer VGGNet (Model D of Simonyan & Zisserman 2015)",
    image=(3, 224, 224),
    macro_layers=(
        vgg_macro_layer(1, 2, 64),
        vgg_macro_layer(2, 2, 128),
        vgg_macro_layer(3, 3, 256),
        vgg_macro_layer(4, 3, 512),
        vgg_macro_layer(5, 3, 512),
    ),
    classifier=(
        InnerProduct("fc6", 4096),
        InnerProduct("fc7", 4096),
        InnerProduct("fc8", 1000),
    ),
    data=DataSet(
        folder="data/ilsvrc12",
        train="train_lmdb",
        test="val_lmdb",
        mean_value=(103.939, 116.779, 123.68),  # of the released VGG-16 weights
        train_images=paper.ILSVRC12_TRAIN_IMAGES,
        test_images=paper.ILSVRC12_VAL_IMAGES,
        test_batch=25,
        crop_size=224,
        mirror=True,
        resize=256,
    ),
    loss_weights=paper.VGG16_LOSS_WEIGHTS,
    layerwise_lr=paper.VGG16_LAYERWISE_LR,
    schedules={
        0: Schedule(
            base_lr=1e-2,
            epochs=74,
            batch_size=16,
            iter_size=16,
            steps=(30, 50, 65),
            why="Simonyan & Zisserman 2015, Section 3.1: 256 images an update, 74"
            " epochs, three falls of the rate; their places are ours",
        ),
        2: Schedule(
            base_lr=1e-12,
            epochs=1,
            batch_size=paper.LAYERWISE_BATCH,
            why="Table A-1: base_lr times a decoder's lr_mult is its macro-layer's"
            " rate; Section 4.1: 16 images, converged within an epoch",
        ),
        3: Schedule(
            base_lr=1e-5,
            epochs=1,
            batch_size=paper.LAYERWISE_BATCH,
            why="ours, the paper has none: Table A-1's rate over its loss weight is"
            " 3e-5 for the image and more elsewhere; a third of the smallest",
        ),
        4: Schedule(
            base_lr=3e-6,
            epochs=paper.JOINT_EPOCHS,
            batch_size=16,
            iter_size=paper.JOINT_BATCH // 16,
            why="base_lr is ours: the paper says reduced, we take 0.3 of stage 3;"
            " Section 4.1: 64 images; Section 4.3: 16 epochs",
        ),
    },
)

VGG8 = Network(
    name="vgg8",
    title="8-layer VGG-style network for 32x32 grey images (ours)",
    image=(1, 32, 32),
    macro_layers=(
        vgg_macro_layer(1, 2, 16),
        vgg_macro_layer(2, 2, 32),
        vgg_macro_layer(3, 2, 64),
    ),
    classifier=(InnerProduct("fc4", 256, dropout=0), InnerProduct("fc5", 10)),
    data=DataSet(
        folder="data/fashion_mnist",
        train="train_lmdb",
        test="test_lmdb",
        mean_value=(55.845,),  # of the padded training images
        train_images=60000,
        test_images=10000,
        test_batch=100,
    ),
    input_blob="data/scaled",
    loss_weights=(4e-3, 5e-4, 3e-4),
    layerwise_lr=(2e-4, 5e-4, 1e-3),
    schedules={
        0: Schedule(
            base_lr=0.02,
            epochs=2.2,
            batch_size=64,
            steps=(1.6, 2),
            tests=2,
            why="ours, by trial: 10 % error at most, in minutes on two cores",
        ),
        2: Schedule(
            base_lr=1e-4,
            epochs=0.5,
            batch_size=64,
            tests=1,
            why="ours, by trial: base_lr times a decoder's lr_mult is a third of the"
            " rate at which its macro-layer diverges, or less",
        ),
        3: Schedule(
            base_lr=0.05,
            epochs=0.5,
            batch_size=64,
            tests=1,
            why="ours: a layerwise rate over its loss weight, 0.05 for the image and"
            " more elsewhere",
        ),
        4: Schedule(
            base_lr=2e-3,
            epochs=0.65,
            batch_size=64,
            steps=(0.5,),
            tests=1,
            why="ours: a tenth of stage 0's rate, then a hundredth",
        ),
    },
)

NETWORKS = {network.name: network for network in (VGG16, VGG8)}


def find_network(name: str) -> Network:
    """The built-in network of that name; raises UserError naming the known ones."""
    return lookup("network", name, NETWORKS)


def lookup(kind: str, name: str, known: dict):
    """`known[name]`, or a UserError that lists the known names and the nearest."""
    if name in known:
        return known[name]
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else "."
    raise UserError(f"unknown {kind} '{name}'{hint} Known: {', '.join(known)}.")
