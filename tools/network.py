"""Reads network files, and builds networks in pycaffe to learn what they hold.

Caffe ends the whole program where a network is wrong, so networks are built in a
process of their own, which also gives the memory back.
"""

import os
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, TemporaryFile
from typing import TypeVar

import caffe
from caffe.proto import caffe_pb2
from caffelog import Fatal, parse_line
from google.protobuf import text_format
from google.protobuf.message import Message
from runs import relative
from runtime import ROOT, UserError

from generator.ladder import NOISY

FileMessage = TypeVar("FileMessage", bound=Message)
DATA = ("Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "DummyData")
"""Layers that yield images and labels of themselves."""

Shape = tuple[int, ...]
Shapes = dict[str, list[Shape]]
"""Layer -> the shapes of its parameters."""


def read(path: Path) -> caffe_pb2.NetParameter:
    """A network file as a NetParameter; UserError where it is missing or unreadable."""
    return _parse(path, caffe_pb2.NetParameter(), "network")


def read_solver(path: Path) -> caffe_pb2.SolverParameter:
    """A solver file as a SolverParameter; UserError as `read`."""
    return _parse(path, caffe_pb2.SolverParameter(), "solver")


def _parse(path: Path, message: FileMessage, kind: str) -> FileMessage:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the {kind} {relative(path)} cannot be read: {error}."
        ) from error
    except text_format.ParseError as error:
        raise UserError(
            f"{relative(path)} is no Caffe {kind} file: line {error}."
        ) from error


def sources(network: caffe_pb2.NetParameter) -> list[str]:
    """What a NetParameter's data layers read, relative to the root: LMDBs, LevelDBs,
    lists of files."""
    found = []
    for layer in network.layer:
        for field, value in layer.ListFields():
            if field.name.endswith("data_param") and hasattr(value, "source"):
                found.append(value.source)
    return list(dict.fromkeys(found))


def batch_size(network: caffe_pb2.NetParameter) -> int | None:
    """Images that one training forward takes; None where no data layer says.

    That is the first data layer's, and that of those whose images are concatenated
    with its own.
    """
    sizes: dict[str, int] = {}
    for layer in filter(in_training, network.layer):
        for field, value in layer.ListFields():
            if field.name.endswith("data_param") and hasattr(value, "batch_size"):
                blob = layer.top[0] if layer.top else layer.name
                sizes.setdefault(blob, value.batch_size)
        joined = layer.type == "Concat" and layer.concat_param.axis == 0
        if joined and sizes.keys() >= set(layer.bottom):
            return sum(sizes[blob] for blob in layer.bottom)
    return next(iter(sizes.values()), None)


def in_training(layer: caffe_pb2.LayerParameter) -> bool:
    """Whether a layer is there in training, as far as its phases say."""
    phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
    excluded = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    return caffe_pb2.TEST not in phases and caffe_pb2.TRAIN not in excluded


def parameter_shapes(path: Path) -> Shapes:
    """The shapes that a network's parameters have in the training phase.

    Raises UserError with Caffe's own words where it refuses the network.
    """
    return _build(path)


def initial(
    path: Path, seed: int, image: Shape, blob: str, scratch: Path
) -> caffe_pb2.NetParameter:
    """The weights that the fillers give a network in the training phase.

    image, blob: shape and name of its data layers' images; no data are read. scratch: a
    folder with room for the weights. Raises UserError as `parameter_shapes` does.
    """
    with TemporaryDirectory(dir=scratch) as folder:
        target = Path(folder) / "initial.caffemodel"
        _build(path, _Initial(seed, image, blob, target))
        return caffe_pb2.NetParameter.FromString(target.read_bytes())


def image_shape(path: Path) -> Shape:
    """What a deploy network's Input layer takes, as (1, channels, height, width).

    Raises UserError where it has none, and as `read` does.
    """
    for layer in read(path).layer:
        if layer.type == "Input" and layer.input_param.shape:
            return (1, *layer.input_param.shape[0].dim[1:])
    raise UserError(f"{relative(path)} has no Input layer with a shape.")


def image_blob(path: Path) -> str:
    """The blob of a deploy network's Input layer; UserError as `image_shape`."""
    for layer in read(path).layer:
        if layer.type == "Input" and layer.top:
            return layer.top[0]
    raise UserError(f"{relative(path)} has no Input layer.")


def without_data(net: caffe_pb2.NetParameter, image: Shape, blob: str) -> None:
    """Replaces what reads data by Input layers of one image, in `blob`, and labels.

    Where `blob` is concatenated from several data layers' images, each has one.
    """
    joined = (la for la in net.layer if la.type == "Concat" and blob in la.top)
    images = {blob, *(bottom for layer in joined for bottom in layer.bottom)}
    for layer in net.layer:
        if layer.type in DATA:
            layer.type = "Input"
            for field, _ in layer.ListFields():
                if field.name.endswith("_param"):
                    layer.ClearField(field.name)
            for top in layer.top:
                layer.input_param.shape.add(dim=image if top in images else (1,))


@dataclass(frozen=True)
class _Initial:
    """Makes `_build` save the weights that it begins with."""

    seed: int
    image: Shape
    blob: str
    target: Path


def _build(path: Path, initial: _Initial | None = None) -> Shapes:
    context = get_context("fork")  # pycaffe takes a second to import: not twice
    receiver, sender = context.Pipe(duplex=False)
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        child = context.Process(
            target=_build_here, args=(path, initial, said.fileno(), sender)
        )
        child.start()
        sender.close()
        try:
            return receiver.recv()
        except EOFError:
            child.join()
            said.seek(0)
            lines = said.read().splitlines() or [f"exit code {child.exitcode}"]
        finally:
            child.join()
    fatal = [e.message for e in map(parse_line, lines) if isinstance(e, Fatal)]
    raise UserError(f"Caffe refuses {relative(path)}: {(fatal or lines)[-1]}")


def _build_here(
    path: Path, initial: _Initial | None, said: int, sender: Connection
) -> None:
    """Sends the shapes, unless Caffe ends the process; its words go to `said`."""
    os.dup2(said, sys.stderr.fileno())
    os.chdir(ROOT)
    network = read(path)
    if initial is None:
        for layer in network.layer:
            drop_fillers(layer)
    else:
        without_data(network, initial.image, initial.blob)
        caffe.set_random_seed(initial.seed)
    with NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(text_format.MessageToString(network))
        file.flush()
        built = caffe.Net(file.name, caffe.TRAIN)
    if initial is not None:
        built.save(str(initial.target))
    parameters = built.params.items()
    sender.send(
        {
            name: [tuple(blob.shape) for blob in blobs]
            for name, blobs in parameters
            if not name.startswith(NOISY)  # tied to those of the layer they copy
        }
    )


def drop_fillers(layer: caffe_pb2.LayerParameter) -> None:
    """Removes the fillers: they take seconds, and no shape depends on them."""
    for field, value in layer.ListFields():
        if field.name.endswith("_param") and isinstance(value, Message):
            for name in value.DESCRIPTOR.fields_by_name:
                if name.endswith("_filler"):
                    value.ClearField(name)
