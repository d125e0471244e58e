"""Real photographs, those of scikit-image's wheel, and LMDBs of them."""

import io
from pathlib import Path

import caffe  # noqa: F401  before the schema: it sets what Caffe logs
import lmdb
import numpy as np
import skimage.data
from caffe.proto import caffe_pb2
from PIL import Image

FOLDER = Path(skimage.data.__file__).parent
COLOUR = ("coffee.png", "chelsea.png", "rocket.jpg", "astronaut.png", "color.png")


def photograph(name: str) -> Image.Image:
    with Image.open(FOLDER / name) as picture:
        return picture.convert("RGB")


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


def encoded(data: bytes, label: int = 0) -> caffe_pb2.Datum:
    """A Datum of an image file's bytes."""
    return caffe_pb2.Datum(encoded=True, data=data, label=label)


def raw(picture: Image.Image, label: int = 0) -> caffe_pb2.Datum:
    """A Datum of pixels, BGR, as Caffe's converters make it."""
    pixels = np.asarray(picture).transpose(2, 0, 1)[::-1]
    channels, height, width = pixels.shape
    return caffe_pb2.Datum(
        channels=channels,
        height=height,
        width=width,
        data=pixels.tobytes(),
        label=label,
    )


def write_lmdb(path: Path, datums: list[caffe_pb2.Datum]) -> Path:
    environment = lmdb.open(str(path), map_size=1 << 28)
    with environment.begin(write=True) as transaction:
        for index, datum in enumerate(datums):
            transaction.put(b"%08d" % index, datum.SerializeToString())
    environment.close()
    return path
