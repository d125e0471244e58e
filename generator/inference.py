"""What networks for inference have in place of data layers and losses."""

from collections.abc import Iterable

from . import names
from .decoder import image_target, loss
from .layers import Enum, Layer, Section
from .networks import softmax
from .sequence import Network

UNITS = "the image in units of [0, 1], less the mean"


def for_inference(sections: Iterable[Section]) -> list[Section]:
    """Returns the same without what only training reads: multipliers and fillers."""
    return [
        Section(section.title, tuple(layer.for_inference() for layer in section.layers))
        for section in sections
    ]


def image_input(network: Network, *others: str) -> Section:
    """Returns the inputs: one image, mean-subtracted, BGR, in units of 0..255, and
    others of its shape."""
    shape = {"shape": {"dim": [1, *network.image.shape]}}
    layers = [
        Layer(blob, "Input", (), (blob,), {"input_param": shape}, network.image.shape)
        for blob in (network.image.blob, *others)
    ]
    return Section("data", tuple(layers))


TRAINED_ONLY = ("Accuracy", "Silence", "HDF5Output")


def scored(network: Network, sections: list[Section]) -> list[Section]:
    """Returns the same without what needs labels, with probabilities of the scores.

    The last section holds what follows the scores; it may be empty.
    """
    before = [layer for layer in network.data.layers_before if layer.bottoms]
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
        after = (*after, softmax(scores.blob, scores.shape))
    return [*result, Section("class probabilities", after)]


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
    """Returns layers that add the mean to image and reconstruction, put them side by
    side and write them; and their loss."""
    image = network.image
    copy = names.decoded(image.name)
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
    pair = f"{names.DECODER}pair@{pixels[0]}"
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
    dump = f"{names.DECODER}dump@{pixels[0]}"
    return [*layers, Layer(dump, "ImageOutput", (pair,), (), fields)]
