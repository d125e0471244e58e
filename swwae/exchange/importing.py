"""Weights of torchvision's layout, or of any Caffe, for one of the networks here.

A state dict (.safetensors, .pth, .pt) is matched layer by layer: convolutions, batch
normalisations and inner products, each in order, or by name where it was exported here.
Its first layer is made to read this network's pixels (BGR in 0..255 less mean_value)
instead of normalised RGB. A .caffemodel, old formats included, is copied by name.
"""

import argparse
from pathlib import Path

from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.networks import NETWORKS
from swwae.base.project import relative
from swwae.exchange.folding import Fold, first_layer, fold
from swwae.exchange.state_dict import (
    StateDict,
    matched,
    tensors_of,
    units,
)
from swwae.nets import weights
from swwae.nets.deployed import Deployed
from swwae.nets.normalisation import TORCHVISION, Normalisation, numbers


def from_state_dict(
    state: StateDict, net: Deployed, pixels: Normalisation
) -> tuple[caffe_pb2.NetParameter, Fold]:
    """A network's weights from a state dict whose images are normalised as `pixels`.

    Raises UserError, naming both sides, where the state dict is not the network's.
    """
    pairs = matched(state, units(net.layers, net.parameters), net.net)
    first = first_layer(net)
    result = caffe_pb2.NetParameter(name=net.net)
    waiting: dict = {}  # until the bias of the first layer is settled
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


def _move(blobs: dict, result: caffe_pb2.NetParameter, net: Deployed) -> None:
    """From arrays to the message, one at a time: VGG-16 has half a gigabyte of them."""
    for name in list(blobs):
        layer = result.layer.add(name=name)
        for values, shape in zip(blobs.pop(name), net.parameters[name], strict=True):
            layer.blobs.append(weights.message(values.reshape(shape)))


def from_caffemodel(
    given: caffe_pb2.NetParameter, net: Deployed, file: Path
) -> tuple[caffe_pb2.NetParameter, weights.Comparison]:
    """The layers of the network that weights have by name, number by number.

    Raises UserError where none, or one of other shapes, is among them, or a number is
    not finite.
    """
    comparison = weights.require_fitting(net.parameters, given, file, net.net)
    weights.require_finite(given, file)
    if not comparison.copied:
        theirs = ", ".join(list(weights.blobs(given))[:3]) or "none"
        raise UserError(
            f"{relative(file)} has no layer of {net.net} (its first are {theirs};"
            f" {net.net}'s are {', '.join(list(net.parameters)[:3])})."
        )
    result = caffe_pb2.NetParameter(name=net.net)
    found = weights.blobs(given)
    for name in comparison.copied:
        layer = result.layer.add(name=name)
        for blob, shape in zip(found[name], net.parameters[name], strict=True):
            own = layer.blobs.add()
            own.CopyFrom(blob)
            for dimension in ("num", "channels", "height", "width"):
                own.ClearField(dimension)
            own.shape.dim[:] = shape
    return result, comparison


def border_remark(fold_: Fold, net: Deployed, pixels: Normalisation) -> str:
    """What the fold leaves at the border, and the command that leaves nothing."""
    if not fold_.border:
        return "exact everywhere, the zero padding at the border included"
    mean = numbers([255 * value for value in pixels.reordered(net.pixels.bgr).mean])
    if net.net in NETWORKS:
        command = f".venv/bin/python -m generator {net.net} --mean-value {mean}"
        mend = f"exact after `{command}`, and this import again"
    else:
        mend = f"exact with mean_value {mean} in the data layers of your file"
    return (
        f"exact inside; where the window of {fold_.layer} reaches into the zero padding"
        f" its outputs differ by up to {fold_.border:.2g}, as the means do; {mend}"
    )


def add_normalisation_arguments(parser: argparse.ArgumentParser) -> None:
    """--mean, --std and --bgr: how the images of a state dict are normalised."""
    parser.add_argument(
        "--mean",
        type=numbers_of,
        metavar="R,G,B",
        help="of the state dict's images in [0, 1], in their channels' order (default:"
        f" torchvision's, {numbers(TORCHVISION.mean)})",
    )
    parser.add_argument(
        "--std",
        type=numbers_of,
        metavar="R,G,B",
        help=f"likewise (default: torchvision's, {numbers(TORCHVISION.std)})",
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument(
        "--rgb", action="store_true", help="the state dict reads RGB (the default)"
    )
    order.add_argument("--bgr", action="store_true", help="it reads BGR")


def chosen_normalisation(options: argparse.Namespace, net: Deployed) -> Normalisation:
    """torchvision's, or what the options say; of other than three channels, this
    network's own mean and a std of 1. Raises UserError for what cannot be."""
    channels = net.image[0]
    default = TORCHVISION.reordered(options.bgr)
    if channels != 3:
        default = Normalisation(net.pixels.mean, (1.0,) * channels)
        if options.bgr:
            raise UserError(f"--bgr: the images of {net.net} have {channels} channel.")
    chosen = Normalisation(
        options.mean or default.mean, options.std or default.std, options.bgr
    )
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


def numbers_of(text: str) -> tuple[float, ...]:
    """Of --mean and --std: one number a channel, in the order of the channels."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: numbers separated by commas are expected, such as"
            f" {numbers(TORCHVISION.mean)}"
        ) from None
