"""CIFAR, SVHN and STL-10 as they are downloaded, but with few images: their formats are
written here byte for byte, as the sets' own pages describe them."""

import io
import struct
import tarfile

import numpy as np
from scipy.io import savemat

CIFAR10_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
CIFAR10_NAMES = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]


def pictures(count, side, seed):
    """RGB, uint8 (count, 3, side, side), each different."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 3, side, side), np.uint8)


def cifar10_binary(folder, count=12):
    """<1 x label><3072 x pixel> …; returns {file: (images, labels)}."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, name in enumerate(CIFAR10_FILES):
        images, labels = pictures(count, 32, seed), np.arange(count) % 10
        records = [
            bytes([label]) + image.tobytes()
            for image, label in zip(images, labels, strict=True)
        ]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
        made[name] = images, labels
    names = "\n".join(CIFAR10_NAMES) + "\n\n"
    (folder / "batches.meta.txt").write_text(names)
    return made


def cifar100_binary(folder, count=200):
    """<1 x coarse label><1 x fine label><3072 x pixel> …"""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, name in enumerate(("train", "test")):
        images, labels = pictures(count, 32, seed), np.arange(count) % 100
        records = [
            bytes([label // 5, label]) + image.tobytes()
            for image, label in zip(images, labels, strict=True)
        ]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
        made[name] = images, labels
    for kind, classes in (("fine", 100), ("coarse", 20)):
        names = "".join(f"{kind} {number}\n" for number in range(classes))
        (folder / f"{kind}_label_names.txt").write_text(names)
    return made


# Pickles as Python 2's cPickle wrote them, protocol 2: strings are bytes.


def _string(text):
    return b"U" + bytes([len(text)]) + text.encode()


def _number(value):
    return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)


def _list(items):
    return b"](" + b"".join(items) + b"e"


def _array(values):
    rows, columns = values.shape
    content = values.tobytes()
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n",
            *(b"K\x00\x85", _string("b"), b"\x87R"),
            *(b"(K\x01", _number(rows), _number(columns), b"\x86"),
            *(b"cnumpy\ndtype\n", _string("u1"), b"K\x00K\x01\x87R"),
            *(b"(K\x03", _string("|"), b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),
            *(b"\x89T", struct.pack("<i", len(content)), content, b"tb"),
        ]
    )


def python2_pickle(items):
    """A dictionary whose values are strings, lists of both, or arrays of bytes."""

    def value(each):
        if isinstance(each, np.ndarray):
            return _array(each)
        if isinstance(each, list):
            return _list([value(item) for item in each])
        return _string(each) if isinstance(each, str) else _number(int(each))

    pairs = b"".join(_string(key) + value(each) for key, each in items.items())
    return b"\x80\x02}(" + pairs + b"u."


def cifar10_python(folder, count=12):
    """As `cifar10_binary`, of the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, name in enumerate(CIFAR10_FILES):
        images, labels = pictures(count, 32, seed), np.arange(count) % 10
        batch = {
            "batch_label": f"training batch {seed + 1} of 5",
            "labels": labels.tolist(),
            "data": images.reshape(count, -1),
            "filenames": [f"{number}.png" for number in range(count)],
        }
        (folder / name).write_bytes(python2_pickle(batch))
        made[name] = images, labels
    meta = {"num_cases_per_batch": 10000, "label_names": CIFAR10_NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return made


def cifar100_python(folder, count=200):
    """As `cifar100_binary`, of the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, name in enumerate(("train", "test")):
        images, labels = pictures(count, 32, seed), np.arange(count) % 100
        batch = {
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "data": images.reshape(count, -1),
        }
        (folder / name).write_bytes(python2_pickle(batch))
        made[name] = images, labels
    names = {
        f"{kind}_label_names": [f"{kind} {number}" for number in range(classes)]
        for kind, classes in (("fine", 100), ("coarse", 20))
    }
    (folder / "meta").write_bytes(python2_pickle(names))
    return made


def svhn(folder, counts=(("train", 30), ("test", 20), ("extra", 40))):
    """X is height × width × RGB × count, y the digit, 10 for 0; MATLAB 5, compressed;
    returns {name: (images, digits)}."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, (name, count) in enumerate(counts):
        images, digits = pictures(count, 32, seed), np.arange(count) % 10
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, np.newaxis]
        savemat(
            folder / f"{name}_32x32.mat",
            {"X": images.transpose(2, 3, 1, 0), "y": labels},
            do_compression=True,
        )
        made[name] = images, digits
    return made


def stl10(folder, counts=(("train", 30), ("test", 20), ("unlabeled", 40))):
    """Planes of red, green and blue, each column by column; labels 1 to 10; returns
    {name: (images, labels from 0 on)}."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, (name, count) in enumerate(counts):
        images, labels = pictures(count, 96, seed), np.arange(count) % 10
        columns = np.ascontiguousarray(images.transpose(0, 1, 3, 2))
        (folder / f"{name}_X.bin").write_bytes(columns.tobytes())
        if name != "unlabeled":
            (folder / f"{name}_y.bin").write_bytes((labels + 1).astype("u1").tobytes())
        made[name] = images, labels
    names = ["airplane", "bird", "car", "cat", "deer"]
    names += ["dog", "horse", "monkey", "ship", "truck"]
    (folder / "class_names.txt").write_text("\n".join(names) + "\n")
    (folder / "fold_indices.txt").write_text("0 1 2\n")
    return made


def packed(folder, archive, mode="w:gz"):
    """A tar of the folder, as sets are offered."""
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, folder.name)
    return archive


def add_member(archive, name, content=b"", **fields):
    """Adds a member to a new gzipped tar; fields: of its TarInfo."""
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(content))
    return archive
