"""The built-in networks, layer by layer as their papers draw them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from . import names, paper
from .layers import Enum, Fields, Layer, Shape
from .sequence import (
    PASSED,
    WEIGHTED,
    Activation,
    DataSet,
    Inverse,
    MacroLayer,
    Network,
    Schedule,
    Training,
)
from .shapes import inferred
from .training import estimated

PIXEL_SCALE = 1 / 255
"""From pixels in 0..255 to the [0, 1] in which the image loss is measured (A1)."""


# --- layers, without what they read: that follows from their place


def conv(
    name: str,
    num_output: int,
    kernel_size: int = 3,
    stride: int = 1,
    pad: int = 1,
    group: int = 1,
    normalised: bool = False,
) -> list[Layer]:
    """Returns a convolution and its ReLU; sizes in pixels, square.

    normalised: with batch normalisation between them.
    """
    window = {"num_output": num_output, "kernel_size": kernel_size}
    window |= {"stride": stride} if stride != 1 else {}
    window |= {"pad": pad} if pad else {}
    window |= {"group": group} if group != 1 else {}
    filled = window | {"weight_filler": {"type": "msra"}}
    fields = {"param": multipliers(), "convolution_param": filled}
    companions = [*(batch_norm(name) if normalised else []), relu(name)]
    return [Layer(name, "Convolution", (), (name,), fields), *companions]


def batch_norm(blob: str) -> list[Layer]:
    """Returns batch normalisation in place: Caffe has its factors and terms in a
    Scale."""
    name, place = f"{blob}/scale", ((blob,), (blob,))
    fields = {"param": multipliers(), "scale_param": {"bias_term": True}}
    return [
        Layer(f"{blob}/bn", "BatchNorm", *place),
        Layer(name, "Scale", *place, fields),
    ]


def max_pool(name: str, kernel_size: int = 2, stride: int = 2) -> list[Layer]:
    """Returns max pooling of the layer `name`; sizes in pixels, square, rounded up."""
    fields = {"pool": Enum("MAX"), "kernel_size": kernel_size, "stride": stride}
    top = names.pooling(name)
    return [Layer(top, "Pooling", (), (top,), {"pooling_param": fields})]


def inner_product(name: str, num_output: int, dropout: float = 0.5) -> list[Layer]:
    """Returns an inner product, its ReLU, and dropout where there is any."""
    layers = [scores(name, num_output)[0], relu(name)]
    if dropout:
        top, ratio = names.dropout(name), {"dropout_ratio": dropout}
        layers.append(Layer(top, "Dropout", (), (top,), {"dropout_param": ratio}))
    return layers


def scores(name: str, num_output: int) -> list[Layer]:
    """Returns the inner product that yields one score a class."""
    fields = {"num_output": num_output, "weight_filler": {"type": "msra"}}
    fields = {"param": multipliers(), "inner_product_param": fields}
    return [Layer(name, "InnerProduct", (), (name,), fields)]


def softmax(scores: str, shape: Shape) -> Layer:
    """Returns the class probabilities of scores; shape: of their blob."""
    prob = names.PROBABILITIES
    return Layer(prob, "Softmax", (scores,), (prob,), {}, shape)


def scaled_image(network_image: Activation, scale: float = PIXEL_SCALE) -> Layer:
    """Returns data/scaled: the mean-subtracted image in units of [0, 1]."""
    blob = network_image.blob
    top, power = names.scaled(blob), {"power_param": {"scale": scale}}
    return Layer(top, "Power", (blob,), (top,), power, network_image.shape)


def relu(blob: str) -> Layer:
    return Layer(names.relu(blob), "ReLU", (blob,), (blob,))


def multipliers(rate: float = 1.0, count: int = 2) -> list[Fields]:
    """Returns the multipliers of weights and biases: rates 1 and 2, decays 1 and 0."""
    both = [
        {"lr_mult": rate, "decay_mult": 1},
        {"lr_mult": 2 * rate, "decay_mult": 0},
    ]
    return both[:count]


# --- from layers to a network


def connected(
    below: Activation, groups: Iterable[Sequence[Layer]]
) -> tuple[MacroLayer, ...]:
    """Returns macro-layers of unconnected layers, each reading the one before it."""
    result = []
    blob, shape = below.blob, below.shape
    for group in groups:
        layers = []
        for layer in group:
            in_place = layer.bottoms == layer.tops
            layer = replace(layer, bottoms=layer.bottoms if in_place else (blob,))
            shape, blobs = inferred(layer, shape)
            layers.append(replace(layer, shape=shape, blobs=blobs))
            blob = layer.tops[0]
        result.append(macro_layer(layers))
    return tuple(result)


def macro_layer(layers: Sequence[Layer], body: tuple[Layer, ...] = ()) -> MacroLayer:
    """Returns connected layers as a macro-layer, dropout and flattening at its end
    apart."""
    end = len(layers)
    while end > 1 and layers[end - 1].type in PASSED:
        end -= 1
    name = next(la.name for la in reversed(layers[:end]) if la.type in WEIGHTED)
    output = Activation(name, layers[end - 1].tops[0], layers[end - 1].shape)
    return MacroLayer(tuple(layers[:end]), output, tuple(layers[end:]), body)


def classifier(
    name: str,
    title: str,
    image: Shape,
    groups: Sequence[Sequence[Layer]],
    data: DataSet,
    training: Training | Schedule,
    magnitude: float,
    decoder_std: float = paper.DECODER_STD,
    grouped_decoder: bool = True,
    inverses: dict[str, tuple[Inverse, ...]] | None = None,
) -> Network:
    """Returns a built-in network, with its loss and its accuracies in the test phase.

    training: stage 0's schedule alone where the rest is to be estimated.
    """
    pixels = Activation("data", "data", image)
    macro_layers = connected(pixels, groups)
    output = macro_layers[-1].output
    network = Network(
        name,
        title,
        pixels,
        PIXEL_SCALE,
        data,
        macro_layers,
        output,
        head(output),
        training if isinstance(training, Training) else None,
        decoder_std,
        magnitude,
        grouped_decoder,
        inverses or {},
        source=name,
    )
    if network.training is None:
        rates = estimated(network, training, paper.LAYERWISE_BATCH)
        network = replace(network, training=rates)
    schedules = network.training.schedules
    if schedules[0].batch_size != schedules[4].batch_size:
        raise ValueError(f"{name}: stages 0 and 4 share a network and its batch")
    return network


def head(output: Activation) -> tuple[Layer, ...]:
    """Softmax loss; top-1 and, where there are more classes than ten, top-5."""
    bottoms = (output.blob, "label")
    test = {"include": {"phase": Enum("TEST")}}
    layers = [
        Layer("loss", names.CLASSIFICATION, bottoms, ("loss",)),
        Layer("accuracy", "Accuracy", bottoms, ("accuracy",), test),
    ]
    if output.shape[0] > 10:
        name, fields = "accuracy/top5", test | {"accuracy_param": {"top_k": 5}}
        layers.append(Layer(name, "Accuracy", bottoms, (name,), fields))
    return tuple(layers)


# --- the networks


def vgg_macro_layer(
    index: int, convolutions: int, num_output: int, normalised: bool = False
) -> list[Layer]:
    """Returns as many 3x3 convolutions, conv<index>_1, ..., and 2x2 max pooling."""
    numbered = [f"conv{index}_{i + 1}" for i in range(convolutions)]
    pieces = [conv(name, num_output, normalised=normalised) for name in numbered]
    return [layer for piece in pieces for layer in piece] + max_pool(numbered[-1])


ILSVRC12 = DataSet(
    folder="data/ilsvrc12",
    train="train_lmdb",
    test="val_lmdb",
    mean_value=(103.939, 116.779, 123.68),  # of the released VGG-16 weights
    train_images=paper.ILSVRC12_TRAIN_IMAGES,
    test_images=paper.ILSVRC12_VAL_IMAGES,
    test_batch=25,
    crop_size=224,
    mirror=True,
    shorter_edge=paper.VGG16_SHORTER_EDGE,
)

VGG16 = classifier(
    name="vgg16",
    title="16-layer VGGNet (Model D of Simonyan & Zisserman 2015)",
    image=(3, 224, 224),
    groups=(
        vgg_macro_layer(1, 2, 64),
        vgg_macro_layer(2, 2, 128),
        vgg_macro_layer(3, 3, 256),
        vgg_macro_layer(4, 3, 512),
        vgg_macro_layer(5, 3, 512),
        inner_product("fc6", 4096),
        inner_product("fc7", 4096),
        scores("fc8", 1000),
    ),
    data=ILSVRC12,
    magnitude=80,  # ours: of pixels less their mean, 0.3 of 255
    training=Training(
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
    ),
)

ALEXNET = classifier(
    name="alexnet",
    title="AlexNet (Krizhevsky et al. 2012), without local response normalisation",
    image=(3, 227, 227),
    groups=(
        conv("conv1", 96, 11, stride=4, pad=0) + max_pool("conv1", 3, 2),
        conv("conv2", 256, 5, pad=2, group=2) + max_pool("conv2", 3, 2),
        conv("conv3", 384),
        conv("conv4", 384, group=2),
        conv("conv5", 256, group=2) + max_pool("conv5", 3, 2),
        inner_product("fc6", 4096),
        inner_product("fc7", 4096),
        scores("fc8", 1000),
    ),
    data=replace(
        ILSVRC12,
        crop_size=227,
        shorter_edge=paper.ALEXNET_SHORTER_EDGE,
        center_square=True,
    ),
    magnitude=80,  # ours, as VGG-16's
    training=Schedule(
        base_lr=1e-2,
        epochs=90,
        batch_size=64,
        iter_size=2,
        steps=(30, 60, 80),
        why="Krizhevsky et al. 2012, Section 5: 128 images an update, 90 epochs, three"
        " falls of the rate; their places are ours",
    ),
    grouped_decoder=False,
    inverses={
        # the stride of 4 stands for two poolings: one layer each (Section 4.2, note 2)
        "conv1": (
            Inverse("pre", "Convolution", 96, 5, pad=2),
            Inverse("body", "Deconvolution", 48, 11, stride=4),
            Inverse("post", "Deconvolution", 3, 5, pad=2),
        )
    },
)

VGG8 = classifier(
    name="vgg8",
    title="8-layer VGG-style network for 32x32 grey images (ours)",
    image=(1, 32, 32),
    groups=(
        [scaled_image(Activation("data", "data", ())), *vgg_macro_layer(1, 2, 16)],
        vgg_macro_layer(2, 2, 32),
        vgg_macro_layer(3, 2, 64),
        inner_product("fc4", 256, dropout=0),
        scores("fc5", 10),
    ),
    data=DataSet(
        folder="data/fashion_mnist",
        train="train_lmdb",
        test="test_lmdb",
        mean_value=(55.845,),  # of the padded training images
        train_images=60000,
        test_images=10000,
        test_batch=100,
    ),
    magnitude=0.3,  # ours, measured
    training=Training(
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
                why="ours, by trial: base_lr times a decoder's lr_mult is a third of"
                " the rate at which its macro-layer diverges, or less",
            ),
            3: Schedule(
                base_lr=0.05,
                epochs=0.5,
                batch_size=64,
                tests=1,
                why="ours: a layerwise rate over its loss weight, 0.05 for the image"
                " and more elsewhere",
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
    ),
)

# torchvision's: 255 times the mean that its weights are normalised with, so that the
# zeros around an image mean the same pixel in both
TORCHVISION_DATA = replace(ILSVRC12, mean_value=(103.53, 116.28, 123.675))

VGG16_BN = classifier(
    name="vgg16_bn",
    title="VGG-16 with batch normalisation, as torchvision has it",
    image=(3, 224, 224),
    groups=(
        vgg_macro_layer(1, 2, 64, normalised=True),
        vgg_macro_layer(2, 2, 128, normalised=True),
        vgg_macro_layer(3, 3, 256, normalised=True),
        vgg_macro_layer(4, 3, 512, normalised=True),
        vgg_macro_layer(5, 3, 512, normalised=True),
        inner_product("fc6", 4096),
        inner_product("fc7", 4096),
        scores("fc8", 1000),
    ),
    data=TORCHVISION_DATA,
    magnitude=1,  # ours: the maxima of half a normal distribution, about
    training=VGG16.training.schedules[0],
)

ALEXNET_OWT = classifier(
    name="alexnet_owt",
    title="AlexNet of one column (Krizhevsky 2014), as torchvision has it",
    image=(3, 224, 224),
    groups=(
        conv("conv1", 64, 11, stride=4, pad=2) + max_pool("conv1", 3, 2),
        conv("conv2", 192, 5, pad=2) + max_pool("conv2", 3, 2),
        conv("conv3", 384),
        conv("conv4", 256),
        conv("conv5", 256) + max_pool("conv5", 3, 2),
        inner_product("fc6", 4096),
        inner_product("fc7", 4096),
        scores("fc8", 1000),
    ),
    data=TORCHVISION_DATA,
    magnitude=80,  # ours, as VGG-16's
    training=ALEXNET.training.schedules[0],
    inverses={
        # as AlexNet's; the kernel of 12 reaches the last of 224 pixels
        "conv1": (
            Inverse("pre", "Convolution", 64, 5, pad=2),
            Inverse("body", "Deconvolution", 32, 12, stride=4, pad=2),
            Inverse("post", "Deconvolution", 3, 5, pad=2),
        )
    },
)

NETWORKS = {
    network.name: network for network in (VGG16, ALEXNET, VGG8, VGG16_BN, ALEXNET_OWT)
}
"""Those whose files are kept in models/ and solvers/."""
