"""A user's own Caffe network: its file, read and cut into macro-layers."""

import shlex
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from . import names, paper
from .chain import GROUPS, Walk, cut, has_source, scores
from .data_sources import elsewhere, misnamed
from .derived import check_name, folder_name
from .errors import UserError
from .files import project_root
from .layers import Layer, Shape
from .mirror import INVERTIBLE
from .schema import fields_of, layer_of, read_network
from .sequence import WEIGHTED, Activation, MacroLayer, Network
from .small_networks import BUILT_IN
from .source import checked, image_shape, pixel_scale
from .staged import by_phase
from .training import PIXEL_MAGNITUDE
from .user_training import data_of, training_of

UNIT_SIZED = ("BatchNorm", "MVN", "Sigmoid", "TanH")
"""Layers whose values are about 1, however large the pixels are."""

MAX_NAME = 255
"""Characters that the name of a layer or blob may have."""


@dataclass(frozen=True)
class Options:
    """What the command line says of a user's network.

    name: of its folder below models/; None: after the file's own name. image: the shape
    of one image, where the file does not tell. group: one of GROUPS. solver: the file
    by which the user trains it.
    """

    name: str | None = None
    image: Shape | None = None
    group: str = "pooling"
    solver: Path | None = None


def read_user_network(path: Path, options: Options) -> Network:
    """Returns the network in a Caffe file of any of its syntaxes.

    Raises UserError where it is no network, or cannot be mirrored from any depth.
    """
    message = read_network(path)
    layers = [layer_of(entry) for entry in message.layer]
    _check_names(layers, path)
    layers = by_phase(layers, path)
    phase = "TRAIN" if has_source(layers, "TRAIN") else "TEST"
    walk = Walk(layers, phase, path)
    source = layers[walk.start.producer]
    image = _image(source, walk.start.blob, options, path)
    chain, obstacle_found = walk.follow(image.shape)
    macro_layers, layers_before, head = cut(layers, chain, options.group)
    if not macro_layers:
        raise UserError(
            f"{path}: no layer with weights can be decoded from, as {obstacle_found}."
        )
    last = macro_layers[-1].output
    limit = None
    if obstacle_found:
        limit = (
            f"{obstacle_found}; the last depth that works is --depth"
            f" {len(macro_layers)} ({last.name})"
        )
    data = data_of(layers_before, layers)
    scale = pixel_scale(source)
    fields = fields_of(message, "layer")
    network = Network(
        name=_name(path, fields.get("name", ""), options),
        title=_title(path, fields.get("name", "")),
        image=image,
        pixel_scale=scale,
        data=data,
        macro_layers=macro_layers,
        scores=scores(layers, chain, phase, bool(limit)),
        head=head,
        training=None,
        decoder_std=paper.DECODER_STD,
        magnitude=_magnitude(scale, macro_layers[0]),
        source=_command(path, options),
        limit=limit,
        fields=fields,
    )
    title = f"{network.title}; default depth {network.depth} of {network.max_depth}"
    network = replace(network, title=title)
    if data.train_images:
        network = replace(network, training=training_of(network, options.solver))
    return network


def _magnitude(scale: float, first: MacroLayer) -> float:
    """Returns the root mean square of an activation, about (ours): of the images, less
    their mean, as the first weights read them; or 1, where that is less and the first
    macro-layer normalises or bounds what it yields.

    scale: brings the images to units of [0, 1].
    """
    magnitude = PIXEL_MAGNITUDE / scale
    for layer in takewhile(lambda layer: layer.type not in WEIGHTED, first.layers):
        if layer.type == "Power":
            magnitude *= abs(layer.fields.get("power_param", {}).get("scale", 1.0)) or 1
    unit_sized = any(layer.type in UNIT_SIZED for layer in first.layers)
    return min(magnitude, 1.0) if unit_sized else magnitude


# --- the file


def _check_names(layers: list[Layer], path: Path) -> None:
    for layer in layers:
        for name in (layer.type, layer.name, *layer.bottoms, *layer.tops):
            if not name or not name.isprintable() or len(name) > MAX_NAME:
                shown = ascii(name) if len(name) <= MAX_NAME else f"{name[:20]}..."
                raise UserError(
                    f"{path}: a layer, its type or one of its blobs has the name"
                    f" {shown}; printable characters, {MAX_NAME} at most, are expected."
                )
        if layer.type in INVERTIBLE and not (layer.bottoms and layer.tops):
            raise UserError(
                f"{path}: layer '{layer.name}' ({layer.type}) has no bottom or no top."
            )
        for name in (layer.name, *layer.tops):
            if name.startswith(names.RESERVED):
                raise UserError(
                    f"{path}: the name '{name}' is one that augmentation gives; name"
                    " the network that was augmented, not the result."
                )


def _name(path: Path, name_in_file: str, options: Options) -> str:
    """Returns the folder's name: lower case, without what paths do not like."""
    wanted = options.name or name_in_file or path.stem
    name = folder_name(wanted)
    if options.name is not None:
        check_name(options.name, BUILT_IN)
    if not name:
        raise UserError(f"{path} has no name that a folder can have; give --name NAME.")
    if name in BUILT_IN:
        raise UserError(
            f"{path} calls itself {name}, as a built-in network does; give it another"
            " name with --name NAME."
        )
    return name


def _title(path: Path, name: str) -> str:
    fits = name.isprintable() and len(name) <= MAX_NAME
    return f"{name if name and fits else path.stem}, from {path}"


def _command(path: Path, options: Options) -> str:
    parts = [shlex.quote(str(path))]
    if options.name:
        parts += ["--name", options.name]
    if options.image:
        parts += ["--image", "x".join(map(str, options.image))]
    if options.group != GROUPS[0]:
        parts += ["--group", options.group]
    if options.solver:
        parts += ["--solver", shlex.quote(str(options.solver))]
    return " ".join(parts)


def _image(source: Layer, blob: str, options: Options, path: Path) -> Activation:
    known = image_shape(source, source.tops.index(blob))
    if known and options.image and known != options.image:
        raise UserError(
            f"--image says {options.image}, but layer '{source.name}' of {path} yields"
            f" {known}; leave the option out."
        )
    shape = known or options.image
    if shape is None:
        raise UserError(
            f"{path} does not tell what shape its images have, and"
            f" {_why_unseen(source, path)} give --image CHANNELSxHEIGHTxWIDTH, such as"
            " --image 3x224x224."
        )
    return Activation(blob, blob, checked(shape, blob))


def _why_unseen(layer: Layer, path: Path) -> str:
    """Returns why the data that a file's layer reads cannot be looked at, and what to
    do about that: the first part of a choice."""
    named = f"layer '{layer.name}'"
    if layer.type == "Data" and (fault := misnamed(layer, project_root())):
        return f"{named} {fault}, or"
    fields = layer.fields.get("data_param") or layer.fields.get("image_data_param", {})
    source = str(fields.get("source", ""))
    if source and (
        there := elsewhere(source, [Path.cwd(), path.parent], project_root())
    ):
        return f"{named} reads {source}, which is missing: {there}, or"
    return f"the data of {named} ({layer.type}) are not there to look at;"
