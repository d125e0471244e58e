"""Builds networks in pycaffe to learn what they hold.

Caffe ends the whole program where a network is wrong, so networks are built in a
process of their own, which also gives the memory back.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import caffe
from caffe.proto import caffe_pb2
from google.protobuf.message import Message

from generator.errors import UserError
from generator.names import NOISY
from swwae.base.processes import EndedEarly, isolated
from swwae.base.project import ROOT, relative
from swwae.base.settings import require_settings
from swwae.engine.log import fatal_messages
from swwae.nets import databases
from swwae.nets.data_layers import without_data
from swwae.nets.network import Shape, as_file, read

Shapes = dict[str, list[Shape]]
"""Layer -> the shapes of its parameters."""


def parameter_shapes(path: Path) -> Shapes:
    """Returns layer -> the shapes that its parameters have in the training phase.

    Raises UserError with Caffe's own words where it refuses the network, and as
    `require_settings` does.
    """
    return _build(path)


def initial(
    path: Path, seed: int, image: Shape, blob: str, scratch: Path
) -> caffe_pb2.NetParameter:
    """Returns the weights that the fillers give a network in the training phase.

    image, blob: shape and name of its data layers' images; no data are read. scratch: a
    folder with room for the weights. Raises UserError as `parameter_shapes` does.
    """
    with TemporaryDirectory(dir=scratch) as folder:
        target = Path(folder) / "initial.caffemodel"
        _build(path, (seed, image, blob), target)
        return caffe_pb2.NetParameter.FromString(target.read_bytes())


def fits(path: Path, blob: str, image: Shape, own: Shape) -> bool:
    """Tells whether a network takes images of another shape (channels, height, width)
    than its own, with parameters of the same shapes.

    blob: of the images. True where Caffe builds the network for no image without its
    data, as where another source gives labels that are vectors.
    """
    try:
        wanted = _build(path, (0, (1, *own), blob))
    except UserError:
        return True
    try:
        return _build(path, (0, (1, *image), blob)) == wanted
    except UserError:
        return False


def blob_shapes(path: Path) -> dict[str, Shape]:
    """Returns blob -> its shape in training; raises UserError as `parameter_shapes`."""
    try:
        return isolated(_blob_shapes_here, path)
    except EndedEarly as error:
        raise _refusal(path, error) from None


def assembled(
    path: Path, files: Sequence[Path], scratch: Path
) -> caffe_pb2.NetParameter:
    """Returns the weights of a network whose layers are spread over several files, as
    Caffe saves them after training.

    files: .caffemodel; a layer in several of them is taken from the last one. scratch:
    a folder with room for the weights. Raises UserError as `parameter_shapes` does.
    """
    require_settings()
    with TemporaryDirectory(dir=scratch) as folder:
        target = Path(folder) / "assembled.caffemodel"
        try:
            isolated(_assemble_here, path, files, target)
        except EndedEarly as error:
            raise _refusal(path, error) from None
        return caffe_pb2.NetParameter.FromString(target.read_bytes())


def _build(
    path: Path,
    initial: tuple[int, Shape, str] | None = None,
    target: Path | None = None,
) -> Shapes:
    """Returns the shapes of a network that is built in a process of its own, as Caffe
    ends the whole process where it refuses one.

    initial: seed, shape and blob of the images; no data are read then. target: where
    the weights that the fillers give go.
    """
    require_settings()
    try:
        return isolated(_build_here, path, initial, target)
    except EndedEarly as error:
        ended = error
    if initial is None and not fatal_messages(ended.lines):
        # No word of Caffe's: it began to read the data.
        databases.check(read(path), path, afresh=True)
    raise _refusal(path, ended)


def _refusal(path: Path, error: EndedEarly) -> UserError:
    lines = error.lines or [f"exit code {error.code}"]
    said = (fatal_messages(lines) or lines)[-1]
    return UserError(f"Caffe refuses {relative(path)}: {said}")


def _build_here(
    path: Path, initial: tuple[int, Shape, str] | None, target: Path | None
) -> Shapes:
    os.chdir(ROOT)
    caffe.set_mode_cpu()
    network = read(path)
    if target is None:
        for layer in network.layer:
            drop_fillers(layer)
    if initial is not None:
        seed, image, blob = initial
        without_data(network, image, blob)
        caffe.set_random_seed(seed)
    with as_file(network) as file:
        built = caffe.Net(str(file), caffe.TRAIN)
    if target is not None:
        built.save(str(target))
    return {
        name: [tuple(blob.shape) for blob in blobs]
        for name, blobs in built.params.items()
        if not name.startswith(NOISY)  # tied to those of the layer they copy
    }


def _blob_shapes_here(path: Path) -> dict[str, Shape]:
    os.chdir(ROOT)
    caffe.set_mode_cpu()
    network = read(path)
    for layer in network.layer:
        drop_fillers(layer)
    with as_file(network) as file:
        built = caffe.Net(str(file), caffe.TRAIN)
    return {name: tuple(blob.shape) for name, blob in built.blobs.items()}


def _assemble_here(path: Path, files: Sequence[Path], target: Path) -> None:
    os.chdir(ROOT)
    caffe.set_mode_cpu()
    built = caffe.Net(str(path), caffe.TRAIN)
    for file in files:
        built.copy_from(str(file))
    built.save(str(target))


def drop_fillers(layer: caffe_pb2.LayerParameter) -> None:
    """Removes the fillers: they take seconds, and no shape depends on them."""
    for field, value in layer.ListFields():
        if field.name.endswith("_param") and isinstance(value, Message):
            for name in value.DESCRIPTOR.fields_by_name:
                if name.endswith("_filler"):
                    value.ClearField(name)
