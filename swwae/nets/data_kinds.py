"""Whether the images that are there are those that a network was generated for.

Of others Caffe makes another network, without a word, or ends the training at the first
that does not fit; the stages after could not go on from either.
"""

from pathlib import Path

from caffe.proto import caffe_pb2

from generator import data_kinds
from generator.datums import PICTURE
from generator.errors import UserError
from generator.layers import Layer, shape_text
from generator.schema import layer_of
from generator.source import image_shape
from swwae.base.project import relative
from swwae.nets import building, databases, network

DEPLOY = "deploy.prototxt"


def check(net: caffe_pb2.NetParameter, path: Path) -> None:
    """Raises UserError for the first database, or list of files, whose images the
    network would not take as it is.

    path: of the network's file; the deploy.prototxt beside it tells for which images it
    was generated, and what is not known there is not looked for.
    """
    deploy = path.with_name(DEPLOY)
    if not deploy.is_file():
        return
    image = network.image_shape(deploy)[1:]
    if len(image) != 3:
        return
    shown = relative(path)
    layers = [layer_of(layer) for layer in net.layer]
    for layer in data_kinds.readers(layers, network.image_blob(deploy)):
        source = relative(databases.source_of(layer))
        kinds = _kinds(layer)
        fault = next(data_kinds.faults(layer, kinds, image[0], source, shown), None)
        fault = fault or data_kinds.channels_fault(layer, image[0], source, shown)
        if fault:
            raise UserError(fault)
        size = data_kinds.size(layer, kinds) if kinds else _first_size(layer)
        if size and _turned(kinds) and size[::-1] == image[1:]:
            continue
        if size not in (None, image[1:]):
            given = (image[0], *size)
            if not building.fits(path, network.image_blob(deploy), given, image):
                raise UserError(
                    f"{source} gives images of {shape_text(given)} (channels x height x"
                    f" width), and {shown} was generated for {shape_text(image)}:"
                    f" {_resize(image)}."
                )


def _kinds(layer: Layer) -> tuple:
    folder = databases.lmdb_of(layer)
    return databases.examined(folder).kinds if folder else ()


def _turned(kinds: tuple) -> bool:
    """Returns whether there are pictures, which OpenCV may turn by a quarter."""
    return any(kind.coding == PICTURE for kind in kinds)


def _first_size(layer: Layer) -> tuple[int, ...] | None:
    shape = image_shape(layer)
    return shape and shape[1:]


def _resize(image: network.Shape) -> str:
    _, height, width = image
    return (
        "make it again in that size (convert_imageset"
        f" --resize_height {height} --resize_width {width}), or generate the network"
        " from a file whose transform_param resizes and crops them"
    )
