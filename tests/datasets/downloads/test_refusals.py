"""Files that are missing, cut off, damaged, another's or hostile: one sentence each,
and no database."""

import gzip
import os
import pickle
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat

from swwae.base.project import ROOT
from swwae.datasets import array_pickles
from tests.helpers import downloads
from tests.helpers.fashion_mnist import everything


@pytest.fixture
def refused(create, tmp_path):
    """Runs a command that must fail, and must leave nothing; returns its sentence."""

    def run(name, source, *arguments, subset=True):
        out = tmp_path / "out"
        arguments = (*arguments, *(["--subset"] if subset else []))
        said = create(name, "--source", source, "--out", out, *arguments, expect=2)
        assert not out.exists()
        return said

    return run


def cut(path, count=1):
    path.write_bytes(path.read_bytes()[:-count])


def test_a_part_of_a_set_must_be_meant(refused, tmp_path):
    downloads.cifar10_binary(tmp_path / "c")
    downloads.svhn(tmp_path / "s")
    downloads.stl10(tmp_path / "t")
    for name, folder, words in (
        ("cifar", "c", "data_batch_1.bin holds 12 images, the set's has 10,000"),
        ("svhn", "s", "train_32x32.mat holds 30 images, the set's has 73,257"),
        ("stl10", "t", "train_X.bin holds 30 images, the set's has 5,000"),
    ):
        said = refused(name, tmp_path / folder, subset=False)
        assert words in said and "--subset" in said


def test_sources_that_are_none(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("This is no archive.")
    other = downloads.add_member(tmp_path / "other.tar.gz", "readme", b"words")
    for name, archive in (
        ("cifar", "cifar-10-binary.tar.gz"),
        ("svhn", "train_32x32.mat"),
        ("stl10", "stl10_binary.tar.gz"),
    ):
        assert "there is no" in refused(name, tmp_path / "nowhere")
        assert "holds none of" in refused(name, tmp_path / "empty")
        assert "damaged or no tar" in refused(name, tmp_path / "text")
        said = refused(name, other)
        assert "holds none of" in said and archive in said


@pytest.mark.parametrize(
    ("name", "write", "file"),
    [
        ("cifar", downloads.cifar10_binary, "data_batch_3.bin"),
        ("cifar", downloads.cifar10_python, "test_batch"),
        ("cifar", downloads.cifar100_binary, "test.bin"),
        ("cifar", downloads.cifar100_python, "train"),
        ("svhn", downloads.svhn, "test_32x32.mat"),
        ("stl10", downloads.stl10, "train_X.bin"),
        ("stl10", downloads.stl10, "unlabeled_X.bin"),
        ("stl10", downloads.stl10, "test_y.bin"),
    ],
)
def test_files_that_are_missing_empty_or_cut_off(refused, tmp_path, name, write, file):
    source = tmp_path / "source"
    write(source)
    cut(source / file)
    said = refused(name, source)
    assert file in said and "fetch" in said
    (source / file).write_bytes(b"")
    assert f"{file} is empty" in refused(name, source)
    (source / file).unlink()
    assert f"lacks {file}" in refused(name, source)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_that_is_cut_off(refused, tmp_path, mode):
    downloads.cifar10_binary(tmp_path / "c")
    archive = downloads.packed(tmp_path / "c", tmp_path / "archive", mode)
    cut(archive, 100_000)
    said = refused("cifar", archive)
    assert "truncated, damaged" in said or "cannot be read" in said or "lacks" in said


def test_a_gzip_whose_checksum_is_wrong(refused, tmp_path):
    downloads.cifar10_binary(tmp_path / "c")
    archive = downloads.packed(tmp_path / "c", tmp_path / "archive", "w")
    content = bytearray(gzip.compress(archive.read_bytes()))
    content[-8] ^= 1
    archive.write_bytes(content)
    assert str(archive) in refused("cifar", archive)


def test_labels_beyond_the_classes(refused, tmp_path):
    downloads.cifar10_binary(tmp_path / "c")
    path = tmp_path / "c/test_batch.bin"
    path.write_bytes(bytes([10]) + path.read_bytes()[1:])
    assert "expected labels from 0 to 9, image 0 has 10" in refused(
        "cifar", tmp_path / "c"
    )
    downloads.stl10(tmp_path / "t")
    path = tmp_path / "t/train_y.bin"
    path.write_bytes(path.read_bytes()[:-1] + bytes([11]))
    assert "from 1 to 10, image 29 has 11" in refused("stl10", tmp_path / "t")
    savemat(
        tmp_path / "s.mat",
        {"X": np.zeros((32, 32, 3, 2), "u1"), "y": np.array([[0], [1]], "u1")},
    )
    downloads.svhn(tmp_path / "s")
    shutil.copy(tmp_path / "s.mat", tmp_path / "s/test_32x32.mat")
    assert "from 1 to 10, image 0 has 0" in refused("svhn", tmp_path / "s")


@pytest.mark.parametrize(
    "values",
    [
        {"y": np.ones((2, 1), "u1")},
        {"X": np.zeros((32, 32, 3, 2), "f8"), "y": np.ones((2, 1), "u1")},
        {"X": np.zeros((28, 28, 3, 2), "u1"), "y": np.ones((2, 1), "u1")},
        {"X": np.zeros((32, 32, 3, 2), "u1"), "y": np.ones((3, 1), "u1")},
        {"X": "text", "y": "text"},
    ],
)
def test_matlab_files_of_something_else(refused, tmp_path, values):
    downloads.svhn(tmp_path / "s")
    savemat(tmp_path / "s/train_32x32.mat", values)
    said = refused("svhn", tmp_path / "s")
    assert "train_32x32.mat: expected" in said and "fetch it again" in said


def test_superclasses_are_cifar_100s(refused, tmp_path):
    downloads.cifar10_binary(tmp_path / "c")
    assert "leave --coarse out" in refused("cifar", tmp_path / "c", "--coarse")


def test_names_of_other_classes(refused, tmp_path):
    downloads.cifar10_binary(tmp_path / "c")
    (tmp_path / "c/batches.meta.txt").write_text("cat\ndog\n")
    assert "names of 10 classes, found 2" in refused("cifar", tmp_path / "c")


class Touch:
    """Its pickle makes a file when it is read, if anything that it names is called."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_run_nothing(refused, tmp_path):
    downloads.cifar10_python(tmp_path / "c")
    mark = tmp_path / "mark"
    (tmp_path / "c/data_batch_2").write_bytes(pickle.dumps(Touch(mark), protocol=2))
    said = refused("cifar", tmp_path / "c")
    assert "data_batch_2 is not CIFAR's: it names" in said and "mkdir" in said
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(np.zeros((2, 2), "f4"), protocol=2),
        pickle.dumps({"data": [[[[[[1]]]]]]}, protocol=2),
        pickle.dumps({"data": {1, 2}}, protocol=2),
        pickle.dumps({"data": print}, protocol=2),
        pickle.dumps(range(3), protocol=4),
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        b"ccodecs\nencode\n.",
        b"(" * 10,
        b"",
        b"{.garbage"[:1],
    ],
)
def test_pickles_of_anything_else_are_not_read(content):
    with pytest.raises(array_pickles.Unfit):
        array_pickles.read(content)


def test_pickles_of_python_3_are_read():
    values = {"data": np.arange(6, dtype="u1").reshape(2, 3), "labels": [1, 2]}
    for protocol in (2, 3, 4):
        found = array_pickles.read(pickle.dumps(values, protocol=protocol))
        assert found["labels"] == [1, 2]
        assert np.array_equal(found["data"], values["data"])


def test_pickles_of_other_batches(refused, tmp_path):
    downloads.cifar10_python(tmp_path / "c")
    images = np.zeros((12, 3072), "u1")
    for batch, words in (
        ({"data": images[:, 1:], "labels": [0] * 12}, "expected `data`"),
        ({"data": images, "labels": [0] * 11}, "expected `labels`"),
        ({"data": images, "labels": ["cat"] * 12}, "expected `labels`"),
        ({"labels": [0] * 12}, "expected `data`"),
        ({"data": images, "fine_labels": [0] * 12}, "expected `labels`"),
    ):
        content = downloads.python2_pickle(batch)
        (tmp_path / "c/data_batch_4").write_bytes(content)
        assert words in refused("cifar", tmp_path / "c")
    (tmp_path / "c/data_batch_4").write_bytes(pickle.dumps([1], protocol=2))
    assert "holds no dictionary" in refused("cifar", tmp_path / "c")


def test_nothing_of_a_tar_leaves_it(refused, tmp_path):
    (tmp_path / "below").mkdir()
    for name, fields in (
        ("../data_batch_1.bin", {}),
        (str(tmp_path / "data_batch_1.bin"), {}),
        ("data_batch_1.bin", {"type": b"2", "linkname": "/etc/passwd"}),
    ):
        archive = tmp_path / "below/hostile.tar.gz"
        content = b"" if fields else bytes(3073)
        downloads.add_member(archive, name, content, **fields)
        before = everything(tmp_path)
        refused("cifar", archive)
        assert everything(tmp_path) == before


def test_too_little_space_is_said_beforehand(refused, monkeypatch, tmp_path):
    downloads.svhn(tmp_path / "s")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "make room" in refused("svhn", tmp_path / "s")


def test_a_full_disk_leaves_no_half_of_a_database(tmp_path):
    downloads.stl10(tmp_path / "t")

    def allow_little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = subprocess.run(
        [sys.executable, ROOT / "data/stl10/create.py", "--source", tmp_path / "t"]
        + ["--out", tmp_path / "out", "--subset"],
        capture_output=True,
        text=True,
        preexec_fn=allow_little,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr and "make room" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["cifar", "svhn", "stl10", "folder"])
def test_a_source_must_be_given(name):
    program = ROOT / f"data/{name}/create.py"
    command = [program, *(["--out", "nowhere"] if name == "folder" else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "give --source PATH" in done.stderr
