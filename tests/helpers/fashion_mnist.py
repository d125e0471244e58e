"""Sets of IDX files, and the databases made of them, read back by hand."""

import struct
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data" / "fashion_mnist" / "create.py"
PREFIXES = {"train": "train", "test": "t10k"}


def write_idx(folder, prefix, images, labels, pack=lambda content: content, suffix=""):
    """Two IDX files of `images` (count × height × width) and their labels."""
    folder.mkdir(exist_ok=True)
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        content = bytes([0, 0, 8, values.ndim])
        content += struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
        (folder / f"{prefix}-{kind}-ubyte{suffix}").write_bytes(pack(content))


def write_set(folder, train=37, test=11, height=5, width=4, **options):
    """A random set, each image different; returns {split: (images, labels)}."""
    random = np.random.default_rng(7)
    sets = {}
    for split, count in (("train", train), ("test", test)):
        images = random.integers(0, 256, (count, height, width), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder, PREFIXES[split], images, labels, **options)
        sets[split] = images, labels
    return sets


def start(*arguments, **options):
    """The script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def varint(content, place):
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def decode(content):
    """A Datum's fields by number, by the protobuf wire format alone."""
    fields, place = {}, 0
    while place < len(content):
        tag, place = varint(content, place)
        value, place = varint(content, place)
        if tag & 7 == 2:
            value, place = content[place : place + value], place + value
        else:
            assert tag & 7 == 0
        assert tag >> 3 not in fields
        fields[tag >> 3] = value
    return fields


def read_back(path):
    """[(key, channels, height, width, pixels, label)] of an LMDB, in its order."""
    records = []
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            for key, value in transaction.cursor():
                fields = decode(value)
                assert sorted(fields) == [1, 2, 3, 4, 5]
                records.append((key, *(fields[number] for number in range(1, 6))))
    return records


def everything(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}
