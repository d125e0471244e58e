"""Reads network files and solver files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

from caffe.proto import caffe_pb2
from google.protobuf import text_format
from google.protobuf.message import Message

from generator import text_files
from generator.errors import UserError
from swwae.base.project import relative

FileMessage = TypeVar("FileMessage", bound=Message)

Shape = tuple[int, ...]


def read(path: Path) -> caffe_pb2.NetParameter:
    """Reads a network file; raises UserError where it is missing or is none."""
    return _parse(path, caffe_pb2.NetParameter(), "network")


def read_solver(path: Path) -> caffe_pb2.SolverParameter:
    """Reads a solver file; raises UserError as `read`."""
    return _parse(path, caffe_pb2.SolverParameter(), "solver")


def _parse(path: Path, message: FileMessage, kind: str) -> FileMessage:
    try:
        if fault := text_files.unfit_for_caffe(path):
            raise UserError(f"the {kind} {relative(path)} cannot be used: {fault}.")
        return text_format.Parse(text_files.read_prototxt(path), message)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the {kind} {relative(path)} cannot be read: {error}."
        ) from error
    except text_format.ParseError as error:
        raise UserError(
            f"{relative(path)} is no Caffe {kind} file: line {error}."
        ) from error


@contextmanager
def as_file(message: caffe_pb2.NetParameter) -> Iterator[Path]:
    """Yields a network in a file that Caffe can read, as long as the context lasts."""
    with NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(text_format.MessageToString(message))
        file.flush()
        yield Path(file.name)


def image_shape(path: Path) -> Shape:
    """Returns the shape of an image in a deploy network's Input layer, as (1, channels,
    height, width).

    Raises UserError where it has none, and as `read` does.
    """
    for layer in read(path).layer:
        if layer.type == "Input" and layer.input_param.shape:
            return (1, *layer.input_param.shape[0].dim[1:])
    raise UserError(f"{relative(path)} has no Input layer with a shape.")


def image_blob(path: Path) -> str:
    """Returns the blob of a deploy network's Input layer; raises as `image_shape`."""
    for layer in read(path).layer:
        if layer.type == "Input" and layer.top:
            return layer.top[0]
    raise UserError(f"{relative(path)} has no Input layer.")
