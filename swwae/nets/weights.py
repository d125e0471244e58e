"""Reads, compares and merges .caffemodel files.

Layers are known by name, their parameters (weights, bias) by shape, as in Caffe. Files
of Caffe's two older formats (`layers`, four-dimensional blobs) are read alike.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError, Message

from generator.errors import UserError
from generator.layers import shape_text
from generator.names import NOISY
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.nets import weight_files

Shape = tuple[int, ...]


class NotFinite(UserError):
    """A layer's parameters, in a file of weights, hold a nan or an infinity."""

    def __init__(self, layer: str, path: Path) -> None:
        super().__init__(
            f"layer {layer} of {relative(path)} holds numbers that are not finite: the"
            " training that left them diverged."
        )


Shapes = Mapping[str, list[Shape]]
"""Layer -> the shapes of its parameters."""


def load(path: Path) -> caffe_pb2.NetParameter:
    """Reads a weights file; raises UserError where it is missing or not a whole one.

    What it is, its content tells, not its name. It comes without what a ladder's noisy
    encoder shares with the clean one.
    """
    kind = weight_files.kind(path)
    if kind != weight_files.CAFFE:
        raise UserError(
            f"{relative(path)} is {kind}; what is read here is a .caffemodel:"
            f" tools/import_weights.py {relative(path)} --net NET --out FILE.caffemodel"
            " makes one of it."
        )
    network = caffe_pb2.NetParameter()
    try:
        network.ParseFromString(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error
    except DecodeError as error:
        raise UserError(
            f"{relative(path)} is not a whole .caffemodel ({path.stat().st_size:,}"
            " bytes): it is truncated or another kind of file."
        ) from error
    if not network.layer and not network.layers:
        raise UserError(
            f"{relative(path)} has no layers: it is another kind of file than a"
            " .caffemodel, such as a .solverstate or an .onnx."
        )
    names = [network.name, *(layer.name for layer in _layers(network))]
    if not all(isinstance(name, str) for name in names):  # bytes: no UTF-8
        raise UserError(
            f"{relative(path)} is damaged: the name of a layer is no text; get the file"
            " again."
        )
    drop_tied(network)
    for name, parameters in blobs(network).items():
        for blob in parameters:
            held = len(blob.double_data) or len(blob.data)
            if min(shape(blob), default=1) < 0 or held != prod(shape(blob)):
                raise UserError(
                    f"{relative(path)} is damaged: layer {name} has {held:,} numbers"
                    f" for a shape of {shape_text(shape(blob))}; get the file again."
                )
    return network


def drop_tied(network: caffe_pb2.NetParameter) -> None:
    """Removes the second copies of tied weights, which Caffe saves layer by layer.

    Loaded, they would overwrite the first.
    """
    for layer in [la for la in network.layer if la.name.startswith(NOISY)]:
        network.layer.remove(layer)


def blobs(network: caffe_pb2.NetParameter) -> dict[str, list]:
    """Returns layer -> its BlobProtos, of layers that have any, in the file's order."""
    layers = _layers(network)
    return {layer.name: list(layer.blobs) for layer in layers if layer.blobs}


def _layers(network: caffe_pb2.NetParameter) -> Sequence[Message]:
    return network.layer or [
        layer.layer if layer.HasField("layer") else layer for layer in network.layers
    ]  # the oldest format, V0, has a layer in each of its layers


def shape(blob) -> Shape:
    """Returns a BlobProto's shape; the older format's always has four dimensions."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return (blob.num, blob.channels, blob.height, blob.width)


def array(blob) -> np.ndarray:
    """Returns a BlobProto's data, float32, in its shape."""
    values = blob.double_data or blob.data
    return np.array(values, np.float32).reshape(shape(blob))


def message(values: np.ndarray) -> caffe_pb2.BlobProto:
    """Returns a BlobProto of the current format, float32."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim[:] = values.shape
    if values.size:
        # As it is in the file: appended one by one, VGG-16's would take half a minute.
        number = caffe_pb2.BlobProto.DESCRIPTOR.fields_by_name["data"].number
        raw = values.astype("<f4").tobytes()
        blob.MergeFromString(_varint(number << 3 | 2) + _varint(len(raw)) + raw)
    return blob


def _varint(value: int) -> bytes:
    """Returns a number as protobuf writes it: seven bits a byte, the lowest first."""
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def read(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads layer -> its parameters, float32; raises UserError as `load` does."""
    return {
        name: [array(blob) for blob in parameters]
        for name, parameters in blobs(load(path)).items()
    }


def shapes(network: caffe_pb2.NetParameter) -> dict[str, list[Shape]]:
    """Returns layer -> the shapes of its parameters."""
    return {
        name: [shape(blob) for blob in parameters]
        for name, parameters in blobs(network).items()
    }


def not_finite(network: caffe_pb2.NetParameter) -> str | None:
    """Returns the first layer whose parameters hold a nan or an infinity, or None.

    It takes some 25 ns a parameter.
    """
    for name, parameters in blobs(network).items():
        if not all(np.isfinite(array(blob)).all() for blob in parameters):
            return name
    return None


def count(parameters: Iterable[Shape]) -> int:
    """Returns how many numbers parameters of these shapes hold."""
    return sum(prod(s) for s in parameters)


@dataclass(frozen=True)
class Comparison:
    """What becomes of a network's layers when it is given weights.

    copied: found with the same shapes; missing: not found, so they stay as the
    fillers made them; unused: only the weights have them; different: found with
    other shapes, which Caffe refuses.
    """

    copied: list[str]
    missing: list[str]
    unused: list[str]
    different: list[str]


def compare(wanted: Shapes, network: caffe_pb2.NetParameter) -> Comparison:
    """Compares a network's parameter shapes with weights, by Caffe's rules."""
    found = blobs(network)
    same = {
        name: len(found[name]) == len(wanted[name])
        and all(map(_fits, found[name], wanted[name]))
        for name in wanted
        if name in found
    }
    return Comparison(
        copied=[name for name, fits in same.items() if fits],
        missing=[name for name in wanted if name not in found],
        unused=[name for name in found if name not in wanted],
        different=[name for name, fits in same.items() if not fits],
    )


def require_fitting(
    wanted: Shapes, network: caffe_pb2.NetParameter, path: Path, net: str
) -> Comparison:
    """Compares as `compare` does, and raises UserError where a layer that the weights
    have is of other shapes.

    path: of the weights; net: the network's name.
    """
    comparison = compare(wanted, network)
    if comparison.different:
        name = comparison.different[0]
        found = ", ".join(map(shape_text, shapes(network)[name]))
        expected = ", ".join(map(shape_text, wanted[name]))
        raise UserError(
            f"layer {name} has the shapes {found} in {relative(path)}, {net} has"
            f" {expected}: these are another network's weights."
        )
    return comparison


def require_all(
    wanted: Shapes, network: caffe_pb2.NetParameter, path: Path, net: str, shown: str
) -> None:
    """Raises UserError as `require_fitting`, and where a layer is missing.

    shown: the network's file, as it is named to a person.
    """
    comparison = require_fitting(wanted, network, path, net)
    if comparison.missing:
        raise UserError(
            f"{relative(path)} lacks layer {comparison.missing[0]} of {shown}: they are"
            " another variant's or an earlier stage's."
        )


def require_finite(network: caffe_pb2.NetParameter, path: Path) -> None:
    """Raises NotFinite where weights hold a nan or an infinity."""
    if layer := not_finite(network):
        raise NotFinite(layer, path)


def _fits(blob, wanted: Shape) -> bool:
    if not blob.HasField("shape") and len(wanted) <= 4:
        wanted = (1,) * (4 - len(wanted)) + tuple(wanted)
    return shape(blob) == tuple(wanted)


def copy_layers(
    source: caffe_pb2.NetParameter, target: caffe_pb2.NetParameter, names: Iterable[str]
) -> None:
    """Replaces the parameters of these layers in `target`; those it lacks are added.

    Where `target` has the layer already, its shapes stay: the data of an inner product
    in the older format, (1, 1, m, n), become (m, n).
    """
    have = blobs(source)
    layers = {layer.name: layer for layer in target.layer}
    for name in names:
        layer = layers.get(name)
        if layer is None:
            target.layer.add(name=name).blobs.extend(have[name])
            continue
        for blob, replacement in zip(layer.blobs, have[name], strict=True):
            copy_blob(replacement, blob, shape(blob))


def copy_blob(
    source: caffe_pb2.BlobProto, target: caffe_pb2.BlobProto, wanted: Shape
) -> None:
    """Copies a parameter into another one, in the current format and this shape."""
    target.CopyFrom(source)
    for dimension in ("num", "channels", "height", "width"):
        target.ClearField(dimension)
    target.shape.dim[:] = wanted


def save(network: caffe_pb2.NetParameter, path: Path) -> None:
    """Writes a weights file: the whole of it or nothing."""
    with whole_file(path) as file:
        file.write(network.SerializeToString())


def sha256(path: Path) -> str:
    """Returns a file's checksum, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
