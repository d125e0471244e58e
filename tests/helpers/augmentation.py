"""Photographs in databases, and data layers that read them."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from tests.helpers import loading
from tests.helpers.photographs import encoded as encoded_datum
from tests.helpers.photographs import photograph

PHOTOGRAPHS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")
ENCODERS = {"jpeg": {"format": "JPEG", "quality": 92}, "png": {"format": "PNG"}}
SEED = 1701

VGG = "shorter_edge: 256 shorter_edge_max: 512 crop_size: 224 mirror: true"
SINGLE_CROP = "shorter_edge: 256 crop_size: 224"


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **ENCODERS[kind])
    return buffer.getvalue()


def planes(picture: Image.Image) -> np.ndarray:
    """uint8 (C, h, w), BGR."""
    pixels = np.asarray(picture)
    return np.atleast_3d(pixels)[:, :, ::-1].transpose(2, 0, 1).copy()


def raw_datum(pixels: np.ndarray) -> caffe_pb2.Datum:
    channels, height, width = pixels.shape
    return caffe_pb2.Datum(
        data=pixels.tobytes(), channels=channels, height=height, width=width
    )


def photograph_datum(name: str, kind: str) -> caffe_pb2.Datum:
    if kind in ENCODERS:
        return encoded_datum(encoded(photograph(name), kind))
    picture = photograph(name)
    return raw_datum(planes(picture.convert("L") if kind == "raw grey" else picture))


def data_layer(source: Path, transform: str, batch: int, phase: str = "") -> str:
    """A Data layer on a folder, an ImageData layer on a list of files."""
    rule = f"include {{ phase: {phase} }}" if phase else ""
    kind, field, backend = "Data", "data_param", "backend: LMDB"
    if source.is_file():
        kind, field, backend = "ImageData", "image_data_param", ""
    return (
        f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" {rule}'
        f" transform_param {{ {transform} }}"
        f' {field} {{ source: "{source}" {backend} batch_size: {batch} }} }}\n'
    )


def outputs(
    layer: str, batches: int = 1, phase: int = caffe.TRAIN, seed: int = SEED
) -> np.ndarray:
    """`data` of so many batches, (batches * batch_size, C, h, w)."""
    caffe.set_random_seed(seed)
    net = loading.build(text_format.Parse(layer, caffe_pb2.NetParameter()), phase)
    return np.concatenate([net.forward()["data"].copy() for _ in range(batches)])


IN_A_CHILD = """
import hashlib, sys
import caffe
caffe.set_random_seed(1701)
net = caffe.Net(sys.argv[1], int(sys.argv[2]))
digest = hashlib.sha256()
for _ in range(int(sys.argv[3])):
    digest.update(net.forward()["data"].tobytes())
print(digest.hexdigest())
"""


def in_child(
    folder: Path, layer: str, batches: int, phase: int = caffe.TRAIN, **environment: str
) -> subprocess.CompletedProcess:
    """Prints the hash of so many batches of `data`, drawn from SEED."""
    file = folder / "network.prototxt"
    file.write_text(layer)
    return subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, file, str(phase), str(batches)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@dataclass(frozen=True)
class Drawn:
    """What of an image a network sees."""

    edge: int
    row: int
    column: int
    mirror: bool

    def view(self, image: np.ndarray, crop: int) -> np.ndarray:
        view = image[:, self.row : self.row + crop, self.column : self.column + crop]
        return view[:, :, ::-1] if self.mirror else view


def predictions(
    sizes: list[tuple[int, int]],
    crop: int,
    edges: tuple[int, int] | None = None,
    seed: int = SEED,
) -> list[Drawn]:
    """What a network of one data layer draws for images of these heights and widths.

    The layer's own generator is seeded with the second number of Caffe's: the first is
    drawn for the set-up. edges: smallest and largest; None: not resized.
    """
    numbers = twister(int(twister(seed)(2)[1]))
    drawn = []
    for height, width in sizes:
        mirror = bool(numbers(1)[0] % 2)
        edge = 0
        if edges:
            edge = edges[0] + int(numbers(1)[0] % (edges[1] - edges[0] + 1))
            shorter = min(height, width)
            height, width = (round(x * edge / shorter) for x in (height, width))
        row, column = numbers(2) % (height - crop + 1, width - crop + 1)
        drawn.append(Drawn(edge, int(row), int(column), mirror))
    return drawn


def twister(seed: int):
    """Gives 32-bit numbers of the Mersenne Twister."""
    state = np.random.RandomState(seed)
    return lambda count: state.randint(0, 1 << 32, size=count, dtype=np.uint32)
