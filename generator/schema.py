"""Caffe's own description of its files: reads them, and turns messages into fields.

The descriptors are the fork's; they live in a pool of their own, so that a program may
import pycaffe as well.
"""

import ast
import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from . import caffe_build, text_files
from .errors import UserError
from .files import project_root
from .layers import Enum, Fields, Layer
from .respelled import respelled

MAX_BYTES = 4 << 20
"""Of a network file; a network of a thousand layers takes a tenth of it."""

MAX_LAYERS = 2000
UPGRADE_SECONDS = 60
BUILD = "fork/build.sh"


@functools.cache
def message_class(name: str) -> type:
    """Returns the class of a message of caffe.proto; raises UserError where the fork is
    not built."""
    from google.protobuf import descriptor_pool, message_factory

    path = Path(caffe_build.folder(project_root()), "python/caffe/proto/caffe_pb2.py")
    try:
        source = path.read_text(encoding="utf-8")
    except OSError:
        raise UserError(
            caffe_build.wrong_choice(project_root())
            or f"a Caffe file is read by the patched Caffe's own rules: run {BUILD}"
            " first."
        ) from None
    pool = descriptor_pool.DescriptorPool()
    for node in ast.walk(ast.parse(source)):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if called and node.func.attr == "AddSerializedFile":
            pool.AddSerializedFile(ast.literal_eval(node.args[0]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))


def read(path: Path, kind: str = "NetParameter"):
    """Reads a file in protobuf's text format; raises UserError where it is none of that
    kind."""
    what = {"NetParameter": "network", "SolverParameter": "solver"}[kind]
    if not str(path).isprintable():
        raise UserError(
            f"{str(path)!r} is no name for a {what} file: printable characters are"
            " expected, as it is noted in what is generated."
        )
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UserError(f"{path} is no file; name a Caffe {what} file.")
        if size > MAX_BYTES:
            raise UserError(
                f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} that a"
                f" {what} file in text format may have; is it a .caffemodel?"
            )
        text = text_files.read_prototxt(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no text in UTF-8, outside its comments (byte {error.start}); a"
            f" {what} file is a .prototxt, not a .caffemodel."
        ) from error
    return parse(text, kind, f"{path} is no Caffe {what} file")


def parse(text: str, kind: str, complaint: str):
    """Returns text as a message; raises UserError beginning with `complaint`."""
    from google.protobuf import text_format

    message = message_class(kind)()
    try:
        try:
            text_format.Parse(text, message)
        except text_format.ParseError:
            other = respelled(text) if kind == "NetParameter" else text
            if other == text:
                raise
            message = message_class(kind)()
            text_format.Parse(other, message)
    except text_format.ParseError as error:
        where = _printable(" ".join(str(error).split()))
        if not where[:1].isdigit():
            raise UserError(f"{complaint}: {where[:300]}.") from error
        raise UserError(f"{complaint}: line {where[:300]}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{complaint}: {str(error)[:300]}.") from error
    return message


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def read_network(path: Path):
    """Reads a network file of any of Caffe's syntaxes as a current NetParameter."""
    network = read(path)
    count = len(network.layer) + len(network.layers)
    if count > MAX_LAYERS:
        raise UserError(
            f"{path} has {count:,} layers; {MAX_LAYERS:,} is the most that is read."
        )
    if not count:
        raise UserError(f"{path} has no layers: is it a solver?")
    return upgraded(network, path)


def upgraded(network, path: Path):
    """Returns the network in today's syntax, by Caffe's own upgrade."""
    from google.protobuf import text_format

    program = Path(caffe_build.folder(project_root()), "bin/upgrade_net_proto_text")
    if not program.is_file():
        raise UserError(
            caffe_build.wrong_choice(project_root())
            or f"the patched Caffe is not built: run {BUILD}."
        )
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.prototxt", Path(folder) / "new.prototxt"
        old.write_text(text_format.MessageToString(network), encoding="utf-8")
        try:
            done = subprocess.run(
                [program, old, new],
                env=caffe_build.environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=UPGRADE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"Caffe did not upgrade {path} within {UPGRADE_SECONDS} seconds."
            ) from None
        if not new.is_file():
            lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
            fatal = next((line for line in lines if line[:1] == "F"), lines[0])
            raise UserError(
                f"Caffe refuses to upgrade {path}: {fatal.partition('] ')[2] or fatal}"
            )
        text = new.read_text(encoding="utf-8")
    return parse(text, "NetParameter", f"Caffe upgraded {path} to what it cannot read")


def fields_of(message, *left_out: str) -> Fields:
    """Returns what is set in a message, in the order of caffe.proto."""
    return {
        descriptor.name: (
            [_value(descriptor, each) for each in value]
            if _repeated(descriptor)
            else _value(descriptor, value)
        )
        for descriptor, value in message.ListFields()
        if descriptor.name not in left_out
    }


def layer_of(message) -> Layer:
    """Returns a LayerParameter as a layer, without weights and shapes."""
    fields = fields_of(message, "name", "type", "bottom", "top", "blobs")
    return Layer(
        message.name,
        message.type,
        tuple(message.bottom),
        tuple(message.top),
        fields,
    )


def _repeated(descriptor) -> bool:
    if hasattr(descriptor, "is_repeated"):
        repeated = descriptor.is_repeated
        return repeated() if callable(repeated) else repeated
    return descriptor.label == descriptor.LABEL_REPEATED


def _value(descriptor, value: Any) -> Any:
    if descriptor.message_type:
        return fields_of(value)
    if descriptor.enum_type:
        known = descriptor.enum_type.values_by_number.get(value)
        return Enum(known.name if known else value)
    if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT:
        return _shortest(value)
    return value


def _shortest(value: float) -> float:
    """Returns the number of fewest digits that is the same float32: 0.1, not
    0.10000000149."""
    import struct

    for digits in range(6, 10):
        candidate = float(f"{value:.{digits}g}")
        if struct.pack("f", candidate) == struct.pack("f", value):
            return candidate
    return value
