"""What a user's data layers tell of the data: the images' shape, scale and number."""

from math import inf, prod
from pathlib import Path

from . import text_files
from .errors import UserError
from .files import project_root
from .layers import Fields, Layer, Shape, as_list
from .lmdb_pages import FILE, Damaged, LmdbFile
from .networks import PIXEL_SCALE
from .picture_headers import read_header

IMAGES = ("Data", "ImageData", "WindowData", "Input", "MemoryData")
"""Layers whose blobs are images of pixels in 0..255, unless they scale them."""

MAX_SIDE = 2**15

MAX_LINE = 2**13
"""Characters of a list's line; a path has half of them at most."""


def image_shape(layer: Layer, top: int = 0) -> Shape | None:
    """Returns the shape of one image of a layer's top; None where only the data tell.

    LMDBs and images are looked at where they are there.
    """
    kind = layer.type
    if kind == "Input":
        shapes = as_list(layer.fields.get("input_param", {}).get("shape"))
        return _one(shapes, top)
    if kind == "DummyData":
        return _dummy(layer.fields.get("dummy_data_param", {}), top)
    if top > 0:
        return None
    if kind == "MemoryData":
        fields = layer.fields.get("memory_data_param", {})
        return tuple(fields.get(name, 0) for name in ("channels", "height", "width"))
    if kind == "Data":
        return transformed(layer, _lmdb_shape(layer))
    if kind == "ImageData":
        return transformed(layer, _image_data_shape(layer))
    return None


def _one(shapes: list, top: int) -> Shape | None:
    """Of a top by its place; one shape serves all."""
    if not shapes:
        return None
    shape = shapes[min(top, len(shapes) - 1)]
    return tuple(as_list(shape.get("dim"))[1:]) or None


def _dummy(fields: dict, top: int) -> Shape | None:
    if fields.get("shape"):
        return _one(as_list(fields["shape"]), top)
    sides = [as_list(fields.get(name)) for name in ("channels", "height", "width")]
    return tuple(side[0] for side in sides) if all(sides) else None


def transformed(layer: Layer, shape: Shape | None) -> Shape | None:
    """Returns what a data layer's transform_param makes of an image of that shape; None
    of one that is not known, or has no pixels."""
    fields = layer.fields.get("transform_param", {})
    if not shape or min(shape) < 1:
        return None
    if crop := fields.get("crop_size", 0):
        return shape[0], crop, crop
    shorter = min(shape[1:])
    sides = (shorter, shorter) if fields.get("center_square") else shape[1:]
    edge = fields.get("shorter_edge") or shorter
    return shape[0], *(round(side * edge / shorter) for side in sides)


def _lmdb_shape(layer: Layer) -> Shape | None:
    """Of the first image in the database that a Data layer reads."""
    from .schema import message_class

    content = _first_value(layer)
    if content is None:
        return None
    try:
        datum = message_class("Datum").FromString(content)
    except Exception:  # of protobuf, whose DecodeError has moved between versions
        return None
    if not datum.encoded:
        return datum.channels, datum.height, datum.width
    return _decoded_shape(datum.data, layer.fields.get("transform_param", {}))


def _decoded_shape(content: bytes, transform: Fields) -> Shape | None:
    """Returns the shape that a picture has in Caffe, which decodes it with OpenCV.

    Where Python has no OpenCV, as in a bundle, it is that of the picture's header.
    """
    try:
        import cv2
    except ImportError:
        return _header_shape(content, transform)
    import numpy as np

    mode = cv2.IMREAD_UNCHANGED
    if transform.get("force_color"):
        mode = cv2.IMREAD_COLOR
    elif transform.get("force_gray"):
        mode = cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error:
        return None
    if image is None:
        return None
    return (1 if image.ndim == 2 else image.shape[2], *image.shape[:2])


def _header_shape(content: bytes, transform: Fields) -> Shape | None:
    header = read_header(len(content), lambda at, size: content[at : at + size])
    if header is None:
        return None
    channels, height, width, _ = header
    if transform.get("force_color"):
        channels = 3
    elif transform.get("force_gray"):
        channels = 1
    return channels, height, width


def lmdb_folder(layer: Layer) -> Path | None:
    """Returns where a Data layer's LMDB is; None where there is none."""
    fields = layer.fields.get("data_param", {})
    folder = project_root() / str(fields.get("source", ""))
    readable = fields.get("backend") == "LMDB" and (folder / FILE).is_file()
    return folder if readable else None


def _first_value(layer: Layer) -> bytes | None:
    """Returns the first entry of a Data layer's LMDB; None where it cannot be read."""
    folder = lmdb_folder(layer)
    if folder is None:
        return None
    try:
        with LmdbFile(folder) as database:
            for _, value in database.items():
                return database.read(value, 0, value.size)
    except Damaged:
        pass
    return None


def _entries(layer: Layer) -> int | None:
    folder = lmdb_folder(layer)
    if folder is None:
        return None
    try:
        with LmdbFile(folder) as database:
            return database.entries or None
    except Damaged:
        return None


def _image_data_shape(layer: Layer) -> Shape | None:
    fields = layer.fields.get("image_data_param", {})
    channels = 3 if fields.get("is_color", True) else 1
    height, width = fields.get("new_height", 0), fields.get("new_width", 0)
    if height and width:
        return channels, height, width
    lines = _lines(fields)
    if not lines:
        return None
    from PIL import Image

    name = fields.get("root_folder", "") + lines[0].strip().rpartition(" ")[0]
    try:
        with Image.open(project_root() / name) as image:
            return channels, image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the second is Pillow's, of a broken PNG


def _lines(fields: dict) -> list[str]:
    """Returns the lines of an ImageData layer's list; [] where there is none. Raises
    UserError where Caffe could not read it."""
    path = project_root() / fields.get("source", "")
    try:
        if fault := text_files.unfit_for_caffe(path):
            raise UserError(f"the list {path} cannot be used: {fault}.")
        return [line for line in text_files.lines(path, MAX_LINE) if line.strip()]
    except OSError:
        return []


def list_labels(layer: Layer) -> set[int]:
    """Returns the labels in the list of files that an ImageData layer reads."""
    found = set()
    for line in _lines(layer.fields.get("image_data_param", {})):
        label = line.rpartition(" ")[2].strip()
        if label.removeprefix("-").isdecimal():
            found.add(int(label))
    return found


def count(layer: Layer) -> int | None:
    """Returns how many images a data layer has; None where that cannot be counted."""
    if layer.type == "ImageData":
        return len(_lines(layer.fields.get("image_data_param", {}))) or None
    if layer.type == "Data":
        return _entries(layer)
    return None


def batch_size(layer: Layer) -> int:
    """Returns how many images are read at once; 1 where the layer does not say."""
    for key, value in layer.fields.items():
        if key.endswith("data_param") and "batch_size" in value:
            return max(1, value["batch_size"])
    return 1


def pixel_scale(layer: Layer) -> float:
    """Returns the factor that brings a data layer's images to units of [0, 1].

    1/255, over what the layer has scaled them by already; 1 where that leaves less
    than one part in a hundred, and for data that are no images.
    """
    if layer.type not in IMAGES:
        return 1.0
    scale = layer.fields.get("transform_param", {}).get("scale", 1.0)
    rest = PIXEL_SCALE / scale if 0 < scale < inf else 1.0
    return 1.0 if abs(rest - 1) < 0.01 else rest


def parse_shape(text: str) -> Shape:
    """Returns (3, 224, 224) of 3x224x224; raises UserError for anything else."""
    parts = text.lower().split("x")
    if not all(part.isdecimal() for part in parts) or len(parts) not in (1, 3):
        raise UserError(
            f"--image {text}: channels x height x width, such as 3x224x224, or the"
            " length of a vector."
        )
    return tuple(map(int, parts))


def checked(shape: Shape, blob: str) -> Shape:
    """Returns the shape; raises UserError where it is none of an image or a vector."""
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise UserError(
            f"'{blob}' has the shape {shape}; channels, height and width are expected,"
            " or the length of a vector, each at least 1."
        )
    if max(shape[1:], default=1) > MAX_SIDE or prod(shape) > 2**31 - 1:
        raise UserError(f"'{blob}' has the shape {shape}, too large for Caffe.")
    return shape


def is_file_name(path: str) -> bool:
    """Tells whether an argument names a file rather than a built-in network."""
    if "/" in path or path.endswith((".prototxt", ".pbtxt")):
        return True
    try:
        return Path(path).is_file()
    except OSError:  # a name longer than a file may have
        return False
