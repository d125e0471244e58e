"""The package that Fashion-MNIST itself comes in."""

import gzip
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from generator.errors import UserError
from swwae.commands import create_fashion_mnist
from swwae.datasets import fashion_mnist
from tests.helpers.fashion_mnist import read_back


def stand_in_apt(folder, script):
    """An apt-get that runs `script`, put first in the search path of programs."""
    folder.mkdir()
    program = folder / "apt-get"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("lists", ["fresh", "empty"])
def test_the_package_is_installed_by_root(monkeypatch, tmp_path, lists):
    package, updated = tmp_path / "package", tmp_path / "updated"
    if lists == "fresh":
        updated.touch()
    stand_in_apt(
        tmp_path / "bin",
        f'case "$*" in *update*) touch {updated};;\n'
        f"*install*dataset-fashion-mnist) [ -e {updated} ] && mkdir {package};; esac",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", package)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert fashion_mnist.package_folder() == package and package.is_dir()


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (1000, "run sudo apt-get install dataset-fashion-mnist, or give --source"),
        (0, r"could not be installed \(No space left\): run apt-get update"),
    ],
)
def test_without_the_package_the_way_out_is_said(monkeypatch, tmp_path, user, words):
    stand_in_apt(tmp_path / "bin", "echo 'E: No space left' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", tmp_path / "package")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(UserError, match=words):
        fashion_mnist.package_folder()


def test_without_apt_source_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", tmp_path / "package")
    with pytest.raises(UserError, match="no apt-get: give --source"):
        fashion_mnist.package_folder()


PACKAGE = Path("/usr/share/datasets/fashion-mnist")


def test_fashion_mnist_itself(create, tmp_path):
    said = create("--out", tmp_path)
    assert "nothing to do" in create("--out", tmp_path)
    assert "nothing to do" in create("--source", PACKAGE, "--out", tmp_path)
    assert "60000 images, 1 × 32 × 32" in said and "10000 images" in said
    content = gzip.decompress((PACKAGE / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((PACKAGE / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    images = np.frombuffer(content, np.uint8, offset=16).reshape(10000, 28, 28)
    records = read_back(tmp_path / "test_lmdb")
    bordered = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    assert Counter(record[4:] for record in records) == Counter(
        (image.tobytes(), label) for image, label in zip(bordered, labels)
    )
    train = json.loads((tmp_path / "train_lmdb" / "info.json").read_text())
    # 72.94 of 255, the mean that is known of the unpadded set, times (28/32)².
    assert train["mean"] == pytest.approx([72.94 * (28 / 32) ** 2], abs=0.01)
    assert train["images_per_label"] == [6000] * 10


def test_fetching_alone_makes_no_database(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["create.py", "--fetch", "--out", str(tmp_path / "out")]
    )
    create_fashion_mnist.main()
    assert capsys.readouterr().out == f"Fashion-MNIST is in {tmp_path}.\n"
    assert not (tmp_path / "out").exists()
