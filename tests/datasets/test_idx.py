"""IDX files, written here byte by byte, are read exactly or refused in a sentence."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from generator.errors import UserError
from swwae.datasets import idx


def idx_bytes(shape, values, type_code=8):
    header = bytes([0, 0, type_code, len(shape)])
    return header + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


def pixels(count):
    return [(7 * index + 3) % 256 for index in range(count)]


@pytest.fixture
def folder(tmp_path):
    """A whole set: 5 training and 3 test images of 2 × 3 pixels, labels 0 to 4."""
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes((5, 2, 3), pixels(30)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes((5,), [4, 0, 1, 2, 3]))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes((3, 2, 3), pixels(18)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes((3,), [1, 1, 0]))
    return tmp_path


def refusal(call, *arguments):
    """The sentence with which `call` refuses."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_every_value_lands_at_its_place(folder):
    sets = idx.read_folder(folder)
    train = sets["train"]
    assert list(sets) == ["train", "test"]
    assert train.images.dtype == np.uint8 and train.images.shape == (5, 1, 2, 3)
    expected = pixels(30)
    for image in range(5):
        for row in range(2):
            for column in range(3):
                place = image * 6 + row * 3 + column
                assert train.images[image, 0, row, column] == expected[place]
    assert train.labels.tolist() == [4, 0, 1, 2, 3]
    assert train.shape == (1, 2, 3) and train.classes == 5 and len(train) == 5
    assert sets["test"].labels.tolist() == [1, 1, 0]


def test_channels_come_before_height_and_width(folder):
    values = pixels(5 * 3 * 2 * 4)
    for split, count in (("train", 5), ("t10k", 3)):
        (folder / f"{split}-images-idx3-ubyte").unlink()
        (folder / f"{split}-images-idx4-ubyte").write_bytes(
            idx_bytes((count, 3, 2, 4), values[: count * 24])
        )
    images = idx.read_folder(folder)["train"].images
    assert images.shape == (5, 3, 2, 4)
    assert images[4, 2, 1, 3] == values[-1]
    assert images[1, 2, 0, 1] == values[24 + 2 * 8 + 1]


def test_gzip_is_told_by_content_and_hashed_uncompressed(folder):
    path = folder / "train-images-idx3-ubyte"
    plain = path.read_bytes()
    for name in (path.name + ".gz", path.name):
        path.unlink(missing_ok=True)
        (folder / name).write_bytes(gzip.compress(plain))
        train = idx.read_folder(folder)["train"]
        assert train.images.ravel().tolist() == pixels(30)
        assert train.sources[0].file == name
        assert train.sources[0].sha256 == hashlib.sha256(plain).hexdigest()
        (folder / name).unlink()


def test_dotted_names_are_found(folder):
    path = folder / "t10k-labels-idx1-ubyte"
    path.rename(folder / "t10k-labels.idx1-ubyte")
    assert idx.read_folder(folder)["test"].labels.tolist() == [1, 1, 0]


def test_missing_files_are_named(folder, tmp_path):
    (folder / "t10k-images-idx3-ubyte").unlink()
    sentence = refusal(idx.read_folder, folder)
    assert "lacks t10k-images-idx3-ubyte: it must hold" in sentence
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        assert name in sentence
    assert "is not a folder" in refusal(idx.read_folder, tmp_path / "nowhere")
    a_file = folder / "train-labels-idx1-ubyte"
    assert "is not a folder" in refusal(idx.read_folder, a_file)


GOOD = idx_bytes((4, 2), [1, 2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\x89PNG" + GOOD, "found 89 50 4e 47"),
        (b"\0\0\x08\0", "not an IDX file"),
        (b"\0\0\x0d\x01" + bytes(8), "found 32-bit floats (type 0d)"),
        (b"\0\0\x0b" + GOOD[3:], "found 16-bit integers (type 0b)"),
        (b"\0\0\x07" + GOOD[3:], "found an unknown type (type 07)"),
        (GOOD[:11], "truncated: its header takes 12 bytes, the whole file has 11"),
        (GOOD[:-1], "truncated: its header promises 20 bytes, found 19"),
        (GOOD + b"\0\0", "promises 20 bytes, found 2 more"),
        (idx_bytes((0, 28, 28), []), "is empty: its dimensions are 0 × 28 × 28"),
        (idx_bytes((2**32 - 1,) * 3, [1]), "truncated"),
        (idx_bytes((1,) * 65, [1]), "damaged: its header announces 65 dimensions"),
        (gzip.compress(GOOD)[:-9], "damaged gzip"),
        (gzip.compress(GOOD)[:-4] + b"\1\1\1\1", "damaged gzip"),
        (gzip.compress(GOOD)[:6] + b"\xff" * 30, "damaged gzip"),
        (gzip.compress(GOOD[:-1]), "truncated"),
    ],
)
def test_unfit_files_are_refused(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    sentence = refusal(idx.read, path)
    assert words in sentence and str(path) in sentence


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "file"
    for whole in (GOOD, gzip.compress(GOOD)):
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            refusal(idx.read, path)
        path.write_bytes(whole)
        assert idx.read(path)[0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_an_unreadable_file_is_refused(tmp_path):
    assert "cannot be read: Is a directory" in refusal(idx.read, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "train-labels-idx1-ubyte",
            idx_bytes((4,), [0, 1, 2, 3]),
            "holds 5 images, ",
        ),
        (
            "train-labels-idx1-ubyte",
            idx_bytes((5, 2, 3), pixels(30)),
            "labels in one dimension, found 5 × 2 × 3",
        ),
        (
            "train-images-idx3-ubyte",
            idx_bytes((5,), [0, 1, 2, 3, 4]),
            "count × height × width",
        ),
        (
            "train-images-idx3-ubyte",
            idx_bytes((5, 6, 2, 3), pixels(180)),
            "at most 4 channels",
        ),
        (
            "t10k-images-idx3-ubyte",
            idx_bytes((3, 3, 2), pixels(18)),
            "the training images are 1 × 2 × 3, the test images 1 × 3 × 2",
        ),
        (
            "t10k-labels-idx1-ubyte",
            idx_bytes((3,), [5, 0, 1]),
            "the test labels go up to 5, the training labels to 4",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused(folder, name, content, words):
    (folder / name).write_bytes(content)
    assert words in refusal(idx.read_folder, folder)
