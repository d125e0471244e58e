"""Gives a network the weights of a state dict, or of a .caffemodel of any Caffe.

A state dict is matched layer by layer (`matching`); its first layer is made to read
this network's pixels, BGR in 0..255 less mean_value, instead of normalised RGB
(`folding`). A .caffemodel, old formats included, is copied by name.
"""

from collections.abc import Sequence
from pathlib import Path

from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.networks import NETWORKS
from swwae.base.project import relative
from swwae.exchange.folding import Fold, border_remark, first_layer, fold
from swwae.exchange.matching import matched, tensors_of
from swwae.exchange.state_dict import Blobs, units
from swwae.exchange.torch_files import StateDict, read_state_dict
from swwae.nets import weight_files, weights
from swwae.nets.deployed import Deployed
from swwae.nets.normalisation import TORCHVISION, Normalisation, numbers


def from_state_dict(
    state: StateDict, net: Deployed, pixels: Normalisation
) -> tuple[caffe_pb2.NetParameter, Fold]:
    """Returns a network's weights from a state dict whose images are normalised as
    `pixels`, and how they were folded.

    Raises UserError, naming both sides, where the state dict is not the network's.
    """
    pairs = matched(state, units(net.layers, net.parameters), net.net)
    first = first_layer(net)
    result = caffe_pb2.NetParameter(name=net.net)
    waiting: Blobs = {}  # until the bias of the first layer is settled
    folded = None
    for unit, module in pairs:
        waiting |= unit.to_caffe(tensors_of(state, unit, module))
        if folded is None and first.layer.name in waiting:
            if len(net.parameters[first.layer.name]) == 1 and len(waiting) == 1:
                continue
            folded = fold(net, first, waiting, pixels, first.pixels)
        if folded is not None:
            _move(waiting, result, net)
    if folded is None:
        folded = fold(net, first, waiting, pixels, first.pixels)
        _move(waiting, result, net)
    return result, folded


def _move(blobs: Blobs, result: caffe_pb2.NetParameter, net: Deployed) -> None:
    """From arrays to the message, one at a time: VGG-16 has half a gigabyte of them."""
    for name in list(blobs):
        layer = result.layer.add(name=name)
        for values, shape in zip(blobs.pop(name), net.parameters[name], strict=True):
            layer.blobs.append(weights.message(values.reshape(shape)))


def from_caffemodel(
    loaded: caffe_pb2.NetParameter, net: Deployed, file: Path
) -> tuple[caffe_pb2.NetParameter, weights.Comparison]:
    """Returns the layers of the network that weights have by name, number by number,
    and which they are.

    Raises UserError where none, or one of other shapes, is among them, or a number is
    not finite.
    """
    comparison = weights.require_fitting(net.parameters, loaded, file, net.net)
    weights.require_finite(loaded, file)
    if not comparison.copied:
        theirs = ", ".join(list(weights.blobs(loaded))[:3]) or "none"
        raise UserError(
            f"{relative(file)} has no layer of {net.net} (its first are {theirs};"
            f" {net.net}'s are {', '.join(list(net.parameters)[:3])})."
        )
    result = caffe_pb2.NetParameter(name=net.net)
    found = weights.blobs(loaded)
    for name in comparison.copied:
        layer = result.layer.add(name=name)
        for blob, shape in zip(found[name], net.parameters[name], strict=True):
            weights.copy_blob(blob, layer.blobs.add(), shape)
    return result, comparison


def import_weights(
    file: Path, net: Deployed, pixels: Normalisation | None = None
) -> tuple[caffe_pb2.NetParameter, list[str]]:
    """Returns a network's weights from a file, and what is to be said of them.

    file: a .caffemodel, which is copied as it is, or a state dict, whose images are
    normalised as `pixels` say. Raises UserError where it cannot be read, or is not the
    network's.
    """
    if weight_files.kind(file) == weight_files.CAFFE:
        result, comparison = from_caffemodel(weights.load(file), net, file)
        return result, [
            f"copied as they are: {_listed(comparison.copied)}",
            f"missing, left to the fillers: {_listed(comparison.missing)}",
            f"unused: {_listed(comparison.unused)}",
        ]
    result, folded = from_state_dict(read_state_dict(file), net, pixels)
    return result, [
        f"images were {pixels}; now {net.pixels}: folded into {folded.layer}",
        border_remark(folded, exact_import(net, pixels)),
    ]


def _listed(names: Sequence[str]) -> str:
    """fc6, fc7, fc8, or the first few of more."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more if names else "none"


def exact_import(net: Deployed, pixels: Normalisation) -> str:
    """Returns what makes the import of weights for `pixels` exact at the border, too:
    data with the same mean."""
    mean = numbers([255 * value for value in pixels.reordered(net.pixels.bgr).mean])
    if net.net in NETWORKS:
        command = f".venv/bin/python -m generator {net.net} --mean-value {mean}"
        return f"exact after `{command}`, and this import again"
    return f"exact with mean_value {mean} in the data layers of your file"


def chosen_normalisation(
    net: Deployed,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    bgr: bool = False,
) -> Normalisation:
    """Returns how the images of a state dict are normalised: as torchvision's, but for
    what is given; of other than three channels with this network's mean and a std of 1.

    Raises UserError for what cannot be; its sentences name the options --mean, --std
    and --bgr.
    """
    channels = net.image[0]
    default = TORCHVISION.reordered(bgr)
    if channels != 3:
        default = Normalisation(net.pixels.mean, (1.0,) * channels)
        if bgr:
            raise UserError(f"--bgr: the images of {net.net} have {channels} channel.")
    chosen = Normalisation(mean or default.mean, std or default.std, bgr)
    for option, values in (("--mean", chosen.mean), ("--std", chosen.std)):
        if len(values) != channels:
            raise UserError(
                f"{option} has {len(values)} numbers; the images of {net.net} have"
                f" {channels} channels, so {channels} are expected."
            )
    if not all(1e-6 <= value <= 1e6 for value in chosen.std):
        raise UserError(
            f"--std {numbers(chosen.std)}: numbers from 1e-6 to 1e6 are expected."
        )
    if not all(abs(value) <= 1e6 for value in chosen.mean):
        raise UserError(
            f"--mean {numbers(chosen.mean)}: numbers up to 1e6 are expected."
        )
    return chosen
