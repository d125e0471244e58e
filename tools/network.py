"""Reads network files, and builds networks in pycaffe to learn what they hold.

Caffe ends the whole program where a network is wrong, so networks are built in a
process of their own, which also gives the memory back.
"""

import os
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import TypeVar

import caffe
from caffe.proto import caffe_pb2
from caffelog import Fatal, parse_line
from google.protobuf import text_format
from google.protobuf.message import Message
from runs import relative
from runtime import ROOT, UserError

FileMessage = TypeVar("FileMessage", bound=Message)
Shapes = dict[str, list[tuple[int, ...]]]
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
    """The databases that a NetParameter's Data layers read, relative to the root."""
    found = (layer.data_param.source for layer in network.layer if layer.type == "Data")
    return list(dict.fromkeys(found))


def batch_size(network: caffe_pb2.NetParameter) -> int | None:
    """Images that one training forward takes; None where no Data layer says."""
    for layer in network.layer:
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if layer.type == "Data" and caffe_pb2.TEST not in phases:
            return layer.data_param.batch_size
    return None


def parameter_shapes(path: Path) -> Shapes:
    """The shapes that a network's parameters have in the training phase.

    Raises UserError with Caffe's own words where it refuses the network.
    """
    return _build(path)


def save_initial(path: Path, seed: int, target: Path) -> None:
    """Saves the weights that the fillers give a network in the training phase.

    Raises UserError as `parameter_shapes` does.
    """
    _build(path, seed, target)


def _build(path: Path, seed: int | None = None, target: Path | None = None) -> Shapes:
    context = get_context("fork")  # pycaffe takes a second to import: not twice
    receiver, sender = context.Pipe(duplex=False)
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        child = context.Process(
            target=_build_here, args=(path, seed, target, said.fileno(), sender)
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
    path: Path, seed: int | None, target: Path | None, said: int, sender: Connection
) -> None:
    """Sends the shapes, unless Caffe ends the process; its words go to `said`."""
    os.dup2(said, sys.stderr.fileno())
    os.chdir(ROOT)
    network = read(path)
    if target is None:
        for layer in network.layer:
            drop_fillers(layer)
    else:
        caffe.set_random_seed(seed)
    with NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(text_format.MessageToString(network))
        file.flush()
        built = caffe.Net(file.name, caffe.TRAIN)
    if target is not None:
        built.save(str(target))
    parameters = built.params.items()
    sender.send({n: [tuple(b.shape) for b in blobs] for n, blobs in parameters})


def drop_fillers(layer: caffe_pb2.LayerParameter) -> None:
    """Removes the fillers: they take seconds, and no shape depends on them."""
    for field, value in layer.ListFields():
        if field.name.endswith("_param") and isinstance(value, Message):
            for name in value.DESCRIPTOR.fields_by_name:
                if name.endswith("_filler"):
                    value.ClearField(name)
