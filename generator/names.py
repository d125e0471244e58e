"""The names inside the networks, and those of the files that hold them.

They are those of the paper authors' release, so that its weights load by name. Whoever
makes, reads or looks for a layer or blob takes its name from here.
"""

DECODER = "dec:"
"""How the names of the decoder's layers and blobs begin: dec:conv3_1 inverts conv3_1;
its top is named after what it reconstructs, dec:conv2_2."""

RECONSTRUCTION = f"{DECODER}loss@"
"""How the names of the reconstruction losses and their blobs begin."""

APART = "[2]"
"""What tells the reconstruction of a pooled activation by a decoder alone: see
`layerwise`."""

NOISY = "noisy:"
"""How the names of the layers and blobs of a ladder's second encoder begin."""

RESERVED = (DECODER, NOISY)
"""How no name in a network that is to be augmented may begin."""

PROBABILITIES = "prob"
"""The blob of the class probabilities, in networks for inference."""

CLASSIFICATION = "SoftmaxWithLoss"
"""The type of the layer that yields the classification loss."""

CONVOLUTION_SUFFIX = "/conv"
"""fc6/conv, in a fully convolutional network, computes what fc6 does; its weights are
fc6's in another shape."""

# --- kinds of network files: <kind>.prototxt

TRAIN_VAL = "train_val"
DECODER_ALONE = "decoder"
PRETRAIN = "pretrain"
DEPLOY = "deploy"
DEPLOY_CONV = "deploy_conv"
RECONSTRUCT = "reconstruct"
DUMP = "dump"

ON_REQUEST = (RECONSTRUCT, DUMP)
"""Kinds that neither training nor deployment needs: made where they are asked for."""


def is_decoder(name: str) -> bool:
    """Tells whether a layer or blob is the decoder's, by its name."""
    return name.startswith(DECODER)


def decoded(name: str) -> str:
    """Returns the name of the layer that inverts a layer, and of the blob that
    reconstructs an activation: dec:conv3_1 of conv3_1, dec:data of data."""
    return f"{DECODER}{name}"


def layerwise(name: str) -> str:
    """Returns the blob that reconstructs a pooled activation where decoders do not feed
    one another: dec:conv4_3[2], as dec:conv4_3 is that macro-layer's own decoder's."""
    return f"{DECODER}{name}{APART}"


def joined(name: str) -> str:
    """Returns the name that a layer on a `layerwise` blob has where decoders feed one
    another."""
    return name.replace(APART, "", 1)


def noisy(name: str) -> str:
    """Returns the name of a layer's or blob's counterpart in the noisy encoder."""
    return f"{NOISY}{name}"


def loss(target: str) -> str:
    """Returns the name of the loss of an activation's reconstruction:
    dec:loss@conv4_3."""
    return f"{RECONSTRUCTION}{target}"


def relu(blob: str) -> str:
    """Returns the name of the ReLU that works in place on a blob."""
    return f"{blob}/relu"


def pooling(layer: str) -> str:
    """Returns the name of the pooling of a layer's output, and of its blob."""
    return f"{layer}/pool"


def switches(pooled: str) -> str:
    """Returns the blob of a max pooling's switches, by that of its maxima."""
    return f"{pooled}-mask"


def unpooling(layer: str) -> str:
    """Returns the name of the unpooling of what is pooled behind a layer."""
    return f"{decoded(layer)}/unpool"


def reshaped(blob: str) -> str:
    """Returns the name of the layer that gives a vector its map's shape again."""
    return f"{blob}/reshape"


def scaled(image: str) -> str:
    """Returns the blob of the image in units of [0, 1]."""
    return f"{image}/scaled"


def dropout(layer: str) -> str:
    """Returns the name of the dropout of a layer's output, and of its blob."""
    return f"{layer}/dropout"
