"""Networks cut down to what one of their reconstruction losses needs.

Where decoders are independent of one another, each can be trained without the others:
with the same weights, images and random numbers it gets the same gradients.
"""

from collections.abc import Mapping, Sequence

from caffe.proto import caffe_pb2

from generator.names import RECONSTRUCTION
from swwae.nets import data_layers

RANDOM = ("Dropout", "GaussianNoise", "DummyData")
"""Layers that draw random numbers from one generator, one after the other."""

UNUSED = "unused"
"""The layer that takes what a cut network has no use for: Caffe displays every value of
a blob that nothing reads."""


def losses(net: caffe_pb2.NetParameter) -> list[str]:
    """Returns the reconstruction losses of a network, macro-layer 1's first: decoders
    begin with the deepest one's."""
    names = [la.name for la in net.layer if la.name.startswith(RECONSTRUCTION)]
    return names[::-1]


def cut(net: caffe_pb2.NetParameter, loss: str) -> caffe_pb2.NetParameter:
    """Returns the layers of a network that one of its losses depends on.

    loss: the layer's name. What they yield and none of them reads is silenced.
    """
    kept = _needed(net, loss)
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    result.layer.extend(net.layer[place] for place in kept)
    read = {blob for layer in result.layer for blob in layer.bottom}
    made = dict.fromkeys(
        blob for layer in result.layer if layer.name != loss for blob in layer.top
    )
    if unused := [blob for blob in made if blob not in read]:
        result.layer.add(name=UNUSED, type="Silence", bottom=unused)
    return result


def fault(
    net: caffe_pb2.NetParameter, found: Sequence[str], counts: Mapping[str, int]
) -> str | None:
    """Returns why a network's losses cannot each be trained alone with the same result,
    a clause; None where they can.

    found: the losses' layers. counts: layer -> how many parameters it has.
    """
    kept = {loss: _needed(net, loss) for loss in found}
    trained: dict[int, str] = {}
    for loss, places in kept.items():
        for place in places:
            layer = net.layer[place]
            if not _is_trained(layer, counts.get(layer.name, 0)):
                continue
            if place in trained:
                return (
                    f"layer {layer.name} is trained by more than one loss,"
                    f" {trained[place]} and {loss}"
                )
            trained[place] = loss
    in_training = [
        place for place, layer in enumerate(net.layer) if data_layers.in_training(layer)
    ]
    others = [net.layer[n].type not in data_layers.DATA for n in in_training]
    if others != sorted(others):
        return "a data layer comes after others, whose random numbers it follows"
    drawing = [n for n in in_training if net.layer[n].type in RANDOM]
    for loss, places in kept.items():
        draws = [place in places for place in drawing]
        if draws != sorted(draws, reverse=True):
            left_out = draws.index(False)
            first, then = drawing[left_out], drawing[draws.index(True, left_out)]
            return (
                f"{loss} needs the random numbers of {net.layer[then].name}, which"
                f" follow those of {net.layer[first].name}"
            )
    return None


def _needed(net: caffe_pb2.NetParameter, loss: str) -> list[int]:
    """Returns the places of the layers that a loss depends on, in order: also of those
    whose parameters one of them shares, as files of weights have these alone."""
    wanted = {loss}
    while True:
        blobs: set[str] = set()
        places = []
        for place in reversed(range(len(net.layer))):
            layer = net.layer[place]
            if layer.name in wanted or not blobs.isdisjoint(layer.top):
                blobs.update(layer.bottom)
                places.append(place)
        shared = {name for place in places for name in _names(net.layer[place])}
        owners = {la.name for la in net.layer if not shared.isdisjoint(_names(la))}
        if owners <= wanted:
            return places[::-1]
        wanted |= owners


def _names(layer: caffe_pb2.LayerParameter) -> set[str]:
    """Returns the names by which a layer's parameters may be shared."""
    return {param.name for param in layer.param if param.name}


def _is_trained(layer: caffe_pb2.LayerParameter, parameters: int) -> bool:
    """Tells whether a solver changes any of a layer's parameters, so many. (BatchNorm's
    statistics follow from the images alone.)"""
    rates = [param.lr_mult for param in layer.param][:parameters]
    return layer.type != "BatchNorm" and (len(rates) < parameters or any(rates))
