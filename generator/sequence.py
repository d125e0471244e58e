"""A sequential classifier, cut into macro-layers: what gets a mirror.

A network is L convolution-pooling macro-layers, each turning a_{l-1} into a_l, and
the inner products that classify a_L (Section 3.1); each inner product counts as a
macro-layer of its own, so that every layer can be decoded from (Section 4.2).
"""

from dataclasses import dataclass, field
from functools import cached_property

from .layers import PHASES, Enum, Fields, Layer, Shape

WEIGHTED = ("Convolution", "InnerProduct")
"""Layers that a decoder inverts by one with weights of its own."""

PASSED = ("Dropout", "Flatten")
"""What the classifier does to an activation before its next layer reads it: a decoder
reads, and yields, the activation itself."""


@dataclass(frozen=True)
class Activation:
    """a_l: its reconstruction goes by `name`, the encoder has it in `blob`."""

    name: str
    blob: str
    shape: Shape


@dataclass(frozen=True)
class MacroLayer:
    """f_l: from one activation to the next.

    layers: in forward order, the last one's top is `output`.
    passed: what follows before the next macro-layer (dropout, flattening).
    body: both, and whatever else a user's file has between them, in its order.
    """

    layers: tuple[Layer, ...]
    output: Activation
    passed: tuple[Layer, ...] = ()
    body: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if not self.body:
            object.__setattr__(self, "body", self.layers + self.passed)

    @property
    def convolutional(self) -> bool:
        return any(layer.type in ("Convolution", "Pooling") for layer in self.layers)

    @property
    def companions(self) -> tuple[Layer, ...]:
        """What follows the last layer with weights: activation function, pooling."""
        places = [i for i, la in enumerate(self.layers) if la.type in WEIGHTED]
        return self.layers[places[-1] + 1 :]


@dataclass(frozen=True)
class Inverse:
    """One of several layers that undo a convolution; sizes in pixels, square."""

    suffix: str
    type: str
    num_output: int
    kernel_size: int
    stride: int = 1
    pad: int = 0


@dataclass(frozen=True)
class FewLabels:
    """Training images of which a part has labels (ours); data/few_labels.py makes them.

    labels: how many have one; seed: by which they are drawn.
    """

    labels: int
    seed: int

    unlabelled = "unlabelled_lmdb"
    """Every training image, those with a label too, with the label -1."""

    @property
    def labelled(self) -> str:
        """The LMDB of the images with labels."""
        return f"labelled{self.labels}_seed{self.seed}_lmdb"


@dataclass(frozen=True)
class DataSet:
    """LMDBs of Caffe Datums and what is done to their images.

    folder: holds the two LMDBs, relative to the project's root.
    mean_value: one value a channel (BGR), subtracted from pixels in 0..255.
    shorter_edge: smallest and largest length in pixels that the shorter edge is resized
        to before the crop, at random in training; the smallest in tests; (): none.
    center_square: the image's centre square is taken before anything else.
    crop_size: side of the square crop, random in training; 0: none.
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
    shorter_edge: tuple[int, ...] = ()
    center_square: bool = False
    few_labels: FewLabels | None = None

    layers_before = ()
    """Of its own, a built-in network has nothing but data layers before the first
    macro-layer."""

    def layers(
        self, image: Activation, batch_size: int, label: bool, decoded: bool
    ) -> list[Layer]:
        """Returns data layers for training and test.

        label: whether they yield labels; decoded: whether images are reconstructed. Of
        few labels half of a training batch has them; a classifier alone, which the
        other half would not teach anything, reads that half alone.
        """
        test = self._layer("TEST", image, self.test, self.test_batch, label)
        few = self.few_labels
        if few is None:
            train = [self._layer("TRAIN", image, self.train, batch_size, label)]
        elif not label:
            train = [self._layer("TRAIN", image, few.unlabelled, batch_size, label)]
        else:
            half = batch_size // 2
            halves = {"labelled": (few.labelled, half)}
            if decoded:
                halves["unlabelled"] = (few.unlabelled, batch_size - half)
                train = self._joined(image, halves)
            else:
                train = [self._layer("TRAIN", image, few.labelled, half, label)]
        return [*train, test]

    def _joined(
        self, image: Activation, parts: dict[str, tuple[str, int]]
    ) -> list[Layer]:
        """Returns a training batch from several LMDBs; parts: name -> LMDB, images."""
        sources = [
            self._layer("TRAIN", image, lmdb, batch, True, f"/{name}")
            for name, (lmdb, batch) in parts.items()
        ]
        joints = [
            Layer(
                blob,
                "Concat",
                tuple(f"{blob}/{name}" for name in parts),
                (blob,),
                {"include": {"phase": Enum("TRAIN")}, "concat_param": {"axis": 0}},
                shape,
            )
            for blob, shape in ((image.blob, image.shape), ("label", ()))
        ]
        return [*sources, *joints]

    def _layer(
        self,
        phase: str,
        image: Activation,
        source: str,
        batch: int,
        label: bool,
        suffix: str = "",
    ) -> Layer:
        blobs = (image.blob, "label") if label else (image.blob,)
        return Layer(
            image.blob + suffix,
            "Data",
            (),
            tuple(blob + suffix for blob in blobs),
            {
                "include": {"phase": Enum(phase)},
                "transform_param": self._transform(in_training=phase == "TRAIN"),
                "data_param": {
                    "source": f"{self.folder}/{source}",
                    "backend": Enum("LMDB"),
                    "batch_size": batch,
                },
            },
            image.shape,
        )

    def _transform(self, in_training: bool) -> Fields:
        fields: Fields = {"mirror": True} if in_training and self.mirror else {}
        fields["mean_value"] = list(self.mean_value)
        if self.center_square:
            fields["center_square"] = True
        if self.shorter_edge:
            fields["shorter_edge"] = min(self.shorter_edge)
        if in_training and len(set(self.shorter_edge)) > 1:
            fields["shorter_edge_max"] = max(self.shorter_edge)
        if self.crop_size:
            fields["crop_size"] = self.crop_size
        return fields


@dataclass(frozen=True)
class UserData:
    """The data layers of a user's file, and what else stands before its first layer.

    layers_before: all that stands there. train_images: 0 where no data set is read, as
        by an Input layer; counted: False where it is an assumption. test_images: 0
        where the file has no test phase.
    """

    layers_before: tuple[Layer, ...]
    train_batch: int = 1
    train_images: int = 0
    test_batch: int = 1
    test_images: int = 0
    counted: bool = True

    def layers(
        self, image: Activation, batch_size: int, label: bool, decoded: bool
    ) -> list[Layer]:
        """Returns the layers as given; without labels, what nobody reads then is
        silenced."""
        if label:
            return list(self.layers_before)
        sources = [layer for layer in self.layers_before if not layer.bottoms]
        silences = []
        unread = {
            phase: tuple(
                top
                for layer in sources
                if layer.in_phase(phase)
                for top in layer.tops
                if top != image.blob
            )
            for phase in PHASES
        }
        if unread["TRAIN"] == unread["TEST"]:
            unread = {"": unread["TRAIN"]}
        for phase, tops in unread.items():
            rule = {"include": {"phase": Enum(phase)}} if phase else {}
            if tops:
                silences.append(Layer("silence", "Silence", tops, (), rule))
        return sources + silences


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
class Training:
    """What the stages need to know beyond the network itself.

    loss_weights: gamma of a_0 ... a_{L-1} for *-all and *-layerwise; *-first uses the
        first alone. The last one serves all deeper activations.
    layerwise_lr: stage-2 learning rate of macro-layer 1 ... L, likewise.
    schedules: by stage, 0 to 4 (1 trains nothing).
    solver: the fields of a user's own solver, for stage 0; {} where there is none.
    """

    loss_weights: tuple[float, ...]
    layerwise_lr: tuple[float, ...]
    schedules: dict[int, Schedule] = field(hash=False)
    solver: Fields = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Network:
    """A sequential classifier and what surrounds it.

    image: a_0, what the data layers yield.
    pixel_scale: brings it to units of [0, 1].
    scores: the blob that the classification loss reads; None: there is no such loss.
    head: what follows the scores: losses, accuracies.
    training: None where no data layer reads a data set.
    decoder_std: of the decoders' Gaussian initialisation.
    magnitude: root mean square of an activation, about: the unit of the ladder's noise.
    grouped_decoder: deconvolutions have the groups of the convolutions they undo.
    inverses: convolution -> the layers that undo it, where one does not.
    source: the generator's arguments that name it: vgg16, or a user's file.
    limit: why no deeper layer can be decoded from, a sentence; None: there is none.
    fields: further fields of the file itself, such as force_backward.
    """

    name: str
    title: str
    image: Activation
    pixel_scale: float
    data: DataSet | UserData
    macro_layers: tuple[MacroLayer, ...]
    scores: Activation | None
    head: tuple[Layer, ...]
    training: Training | None
    decoder_std: float
    magnitude: float
    grouped_decoder: bool = True
    inverses: dict[str, tuple[Inverse, ...]] = field(default_factory=dict, hash=False)
    source: str = ""
    limit: str | None = None
    fields: Fields = field(default_factory=dict, hash=False)

    @cached_property
    def activations(self) -> tuple[Activation, ...]:
        """a_0 (the image) to the classifier's last layer; the index is the depth."""
        return (self.image, *(macro.output for macro in self.macro_layers))

    @cached_property
    def depth(self) -> int:
        """L, the last convolution-pooling macro-layer: the default decoding depth.

        Of a network of inner products alone: its last hidden layer.
        """
        convolutional = sum(macro.convolutional for macro in self.macro_layers)
        return convolutional or max(1, self.max_depth - 1)

    @property
    def max_depth(self) -> int:
        """The deepest layer that can be decoded from: the classifier's last."""
        return len(self.macro_layers)
