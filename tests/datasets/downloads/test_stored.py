"""What CIFAR, SVHN and STL-10 become: each image once, blue first, with its label."""

import json

import numpy as np
import pytest

from swwae.datasets import cifar, stl10, svhn
from tests.helpers import downloads
from tests.helpers.fashion_mnist import everything, read_back


def stored(path):
    """{pixels as RGB planes: label} of a database."""
    records = read_back(path)
    assert [key for key, *_ in records] == [b"%08d" % i for i in range(len(records))]
    found = {}
    for _, channels, height, width, pixels, label in records:
        image = np.frombuffer(pixels, np.uint8).reshape(channels, height, width)
        label = label - 2**64 if label >= 2**63 else label  # as protobuf has -1
        found[image[::-1].tobytes()] = label
    assert len(found) == len(records)
    return found


def expected(*parts):
    return {
        image.tobytes(): int(label)
        for images, labels in parts
        for image, label in zip(images, labels, strict=True)
    }


def info(path):
    return json.loads((path / "info.json").read_text())


@pytest.mark.parametrize("write", [downloads.cifar10_binary, downloads.cifar10_python])
@pytest.mark.parametrize("mode", ["folder", "folder around", "w", "w:gz", "w:xz"])
def test_cifar10(create, tmp_path, write, mode):
    made = write(tmp_path / "around" / "cifar")
    source = tmp_path / "around" / ("cifar" if mode == "folder" else "")
    if mode.startswith("w"):
        source = downloads.packed(tmp_path / "around", tmp_path / "archive", mode)
    out = tmp_path / "out"
    create("cifar", "--source", source, "--out", out, "--subset")
    *train, test = (made[name] for name in downloads.CIFAR10_FILES)
    assert stored(out / "train_lmdb") == expected(*train)
    assert stored(out / "test_lmdb") == expected(test)
    assert info(out / "train_lmdb")["classes"] == downloads.CIFAR10_NAMES
    create("cifar", "--check", "--out", out)
    again = create("cifar", "--source", source, "--out", out, "--subset")
    assert "nothing to do" in again
    names = {path.parts[0] for path in everything(out)}
    assert names == {"train_lmdb", "test_lmdb"}


@pytest.mark.parametrize(
    "write", [downloads.cifar100_binary, downloads.cifar100_python]
)
@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100(create, tmp_path, write, coarse):
    made = write(tmp_path / "cifar")
    out = tmp_path / "out"
    arguments = ["--source", tmp_path / "cifar", "--out", out, "--subset"]
    said = create("cifar", *arguments, *(["--coarse"] if coarse else []))
    for name, (images, labels) in made.items():
        labels = labels // 5 if coarse else labels
        assert stored(out / f"{name}_lmdb") == expected((images, labels))
    kind, classes = ("coarse", 20) if coarse else ("fine", 100)
    assert f"--classes {classes} " in said
    names = [f"{kind} {number}" for number in range(classes)]
    assert info(out / "test_lmdb")["classes"] == names
    other = create("cifar", *arguments, *([] if coarse else ["--coarse"]), expect=2)
    assert "--force makes it anew" in other


def test_the_two_cifars_have_homes_of_their_own(create, monkeypatch, tmp_path):
    monkeypatch.setattr(cifar, "HOME", tmp_path / "data")
    downloads.cifar10_python(tmp_path / "ten")
    downloads.cifar100_binary(tmp_path / "hundred")
    for name in ("ten", "hundred"):
        create("cifar", "--source", tmp_path / name, "--subset")
    for name, count in (("cifar10", 60), ("cifar100", 200)):
        assert len(read_back(tmp_path / "data" / name / "train_lmdb")) == count


def test_svhn(create, tmp_path):
    made = downloads.svhn(tmp_path / "svhn")
    out = tmp_path / "out"
    create("svhn", "--source", tmp_path / "svhn", "--out", out, "--subset")
    for name in ("train", "test"):
        assert stored(out / f"{name}_lmdb") == expected(made[name])
    assert info(out / "train_lmdb")["classes"] == list("0123456789")
    assert not (out / "unlabelled_lmdb").exists()


def test_svhns_extra_images_are_training_images_or_without_labels(create, tmp_path):
    made = downloads.svhn(tmp_path / "svhn")
    arguments = ("--source", tmp_path / "svhn", "--subset", "--extra")
    create("svhn", *arguments, "train", "--out", tmp_path / "joined")
    both = expected(made["train"], made["extra"])
    assert stored(tmp_path / "joined/train_lmdb") == both
    create("svhn", *arguments, "unlabelled", "--out", tmp_path / "apart")
    assert stored(tmp_path / "apart/train_lmdb") == expected(made["train"])
    assert stored(tmp_path / "apart/unlabelled_lmdb") == dict.fromkeys(both, -1)


@pytest.mark.parametrize("packed", [False, True])
def test_stl10(create, tmp_path, packed):
    made = downloads.stl10(tmp_path / "stl10_binary")
    source, out = tmp_path / "stl10_binary", tmp_path / "out"
    if packed:
        source = downloads.packed(source, tmp_path / "stl10_binary.tar.gz")
    said = create("stl10", "--source", source, "--out", out, "--subset")
    for name in ("train", "test"):
        assert stored(out / f"{name}_lmdb") == expected(made[name])
    without = expected(made["unlabeled"])
    assert stored(out / "unlabelled_lmdb") == dict.fromkeys(without, -1)
    assert "40 images, 3 × 96 × 96" in said and "without labels" in said
    assert info(out / "train_lmdb")["classes"][0] == "airplane"
    create("stl10", "--check", "--out", out)


def test_stl10_without_the_images_without_labels(create, tmp_path):
    downloads.stl10(tmp_path / "stl")
    (tmp_path / "stl/unlabeled_X.bin").unlink()
    arguments = ("--source", tmp_path / "stl", "--out", tmp_path / "out", "--subset")
    assert "lacks unlabeled_X.bin" in create("stl10", *arguments, expect=2)
    create("stl10", *arguments, "--no-unlabelled")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"train_lmdb", "test_lmdb"}


def test_means_are_of_the_stored_channels(create, tmp_path):
    made = downloads.stl10(tmp_path / "stl")
    out = tmp_path / "out"
    said = create("stl10", "--source", tmp_path / "stl", "--out", out, "--subset")
    images, _ = made["train"]
    blue, green, red = images.mean(axis=(0, 2, 3))[::-1]
    assert info(out / "train_lmdb")["mean"] == pytest.approx([blue, green, red])
    assert f"--mean-value {blue:.3f},{green:.3f},{red:.3f} --images 30,20" in said


def test_the_seed_shuffles(create, tmp_path):
    downloads.svhn(tmp_path / "svhn")
    arguments = ("--source", tmp_path / "svhn", "--subset")
    orders = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        create("svhn", *arguments, "--out", tmp_path / name, "--seed", seed)
        orders.append([r[4] for r in read_back(tmp_path / name / "train_lmdb")])
    assert orders[0] == orders[1] != orders[2]
    other = create("svhn", *arguments, "--out", tmp_path / "a", "--seed", 2, expect=2)
    assert "was made with seed 0, asked for is 2" in other


def test_published_numbers_of_images_are_known():
    for version in cifar.versions(coarse=False):
        assert version.images == {"train": 50_000, "test": 10_000}
    assert svhn.IMAGES == {"train": 73_257, "test": 26_032, "extra": 531_131}
    assert stl10.IMAGES == {"train": 5_000, "test": 8_000, "unlabelled": 100_000}
