"""LMDBs of Datums that are given, and what becomes of their files."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import lmdb
import numpy as np
from caffe.proto import caffe_pb2

PAGE = 4096


def write(folder: Path, records: Iterable[bytes | caffe_pb2.Datum]) -> Path:
    """Writes records under keys that count from 0; returns the folder."""
    environment = lmdb.open(str(folder), map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for index, record in enumerate(records):
            if not isinstance(record, bytes):
                record = record.SerializeToString()
            transaction.put(b"%08d" % index, record)
    environment.close()
    return folder


def image(label: int, side: int = 2, **fields) -> caffe_pb2.Datum:
    """Returns a grey image of side x side black pixels. fields: that differ."""
    usual = {"channels": 1, "height": side, "width": side, "data": bytes(side * side)}
    return caffe_pb2.Datum(**(usual | {"label": label} | fields))


def floats(label: int, values: np.ndarray) -> caffe_pb2.Datum:
    """Returns an image (C, h, w) of float_data."""
    channels, height, width = values.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
    datum.float_data.extend(values.ravel().tolist())
    return datum


def picture(label: int, pixels: np.ndarray) -> caffe_pb2.Datum:
    """Returns a PNG of uint8 or uint16, (h, w) or (h, w, 3), BGR."""
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    return caffe_pb2.Datum(data=encoded, encoded=True, label=label)


def overwrite(folder: Path, page: int, content: bytes, offset: int = 0) -> None:
    """Writes over a page of an LMDB's file."""
    with (folder / "data.mdb").open("r+b") as file:
        file.seek(page * PAGE + offset)
        file.write(content)


def kinds(folder: Path) -> list[int]:
    """Returns the flags of every page: 1 for a branch, 2 a leaf, 4 a value's first."""
    content = (folder / "data.mdb").read_bytes()
    places = range(0, len(content), PAGE)
    return [int.from_bytes(content[at + 10 : at + 12], "little") for at in places]
