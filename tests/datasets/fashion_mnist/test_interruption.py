"""What can't become whole is refused beforehand, or leaves nothing that looks so."""

import os
import resource
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from generator.errors import UserError
from swwae.commands import create_fashion_mnist
from swwae.datasets import database_folders, datum_lmdb, fashion_mnist
from swwae.datasets.labelled_images import LabelledImages
from tests.helpers.fashion_mnist import SCRIPT, everything, read_back, start, write_set


def test_refused_before_anything_is_written(create, monkeypatch, tmp_path, source, out):
    a_file = tmp_path / "file"
    a_file.write_text("")
    cases = [
        (("--source", tmp_path / "no"), out, "is not a folder"),
        (("--source", source, "--pad-to", 4), out, "do not fit into 4 × 4 pixels"),
        (("--source", source, "--pad-to", 100_000_000), out, "make room"),
        (("--source", source), a_file, "is a file: give --out a folder"),
        (("--source", source), a_file / "below", "is a file"),
        (("--source", source), tmp_path / ("n" * 300), "be made: File name too"),
    ]
    for arguments, where, words in cases:
        before = everything(tmp_path)
        assert words in create(*arguments, "--out", where, expect=2)
        assert everything(tmp_path) == before
    monkeypatch.setattr(os, "access", lambda path, mode: path != source)
    sentence = create("--source", source, "--out", source / "new", expect=2)
    assert f"{source} is not writable" in sentence
    images = source / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    assert "is truncated" in create("--source", source, "--out", out, expect=2)
    assert not out.exists()


@pytest.mark.parametrize("option", ["--seed", "--pad-to"])
@pytest.mark.parametrize("value", ["-1", "1.5", "x", "²"])
def test_numbers_are_whole(monkeypatch, capsys, option, value):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), option, value])
    with pytest.raises(SystemExit) as end:
        create_fashion_mnist.main()
    assert end.value.code == 2
    assert (
        f"{option}: '{value}' is no whole number from 0 on" in capsys.readouterr().err
    )


def wait_for(condition, process):
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def slow_source(tmp_path):
    """Enough images for an interruption to find them being written."""
    write_set(tmp_path / "slow", train=60000)
    return tmp_path / "slow"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_leaves_nothing_that_looks_whole(
    create, slow_source, source, out, signum
):
    process = start("--source", slow_source, "--out", out)
    partial = out / "train_lmdb.partial"
    wait_for(lambda: (partial / "data.mdb").exists(), process)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=30)
    if signum == signal.SIGINT:
        assert process.returncode == 130
        assert stderr == "create.py: interrupted\n"
        assert list(out.iterdir()) == []
    else:
        assert process.returncode == -signal.SIGKILL
        assert [path.name for path in out.iterdir()] == ["train_lmdb.partial"]
        create("--source", source, "--out", out)
        assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}
        create("--check", "--out", out)


def test_two_runs_do_not_mix(create, source, out):
    out.mkdir(parents=True)
    with database_folders.only_writer(out):
        sentence = create("--source", source, "--out", out, expect=2)
        assert "another run is writing" in sentence and list(out.iterdir()) == []
    create("--source", source, "--out", out)


def test_a_replacement_cut_short_brings_the_old_database_back(create, source, out):
    create("--source", source, "--out", out)
    before = read_back(out / "train_lmdb")
    (out / "train_lmdb").rename(out / "train_lmdb.old")
    (out / "train_lmdb.partial").mkdir()
    database_folders.clear_leftovers(out / "train_lmdb")
    assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}
    assert read_back(out / "train_lmdb") == before


def test_leftovers_beside_complete_databases_are_removed(create, source, out):
    create("--source", source, "--out", out)
    for name in ("train_lmdb.partial", "test_lmdb.old"):
        (out / name).mkdir()
        (out / name / "data.mdb").write_text("half")
    create("--source", source, "--out", out)
    assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}


def test_a_full_disk_is_said_and_leaves_nothing(source, out):
    def allow_little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = start("--source", source, "--out", out, preexec_fn=allow_little)
    _, sentence = process.communicate(timeout=60)
    assert process.returncode == 2 and sentence.count("\n") == 1
    assert "cannot be written" in sentence and "make room" in sentence
    assert list(out.iterdir()) == []


def test_too_little_space_is_said_beforehand(monkeypatch, tmp_path):
    data = LabelledImages(
        np.zeros((60000, 1, 28, 28), np.uint8), np.zeros(60000, np.uint8), ()
    )
    usage = shutil.disk_usage(tmp_path)._replace(free=80_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="take 8[5-9] MB, .* 80 MB free"):
        fashion_mnist.check_space(tmp_path / "new" / "out", [data], side=32)


def test_too_little_memory_is_said_beforehand(
    create, monkeypatch, tmp_path, source, out
):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**24)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    sentence = create("--source", source, "--out", out, "--pad-to", 10**7, expect=2)
    assert f"take {37 * 10**14 // 10**6} MB of memory" in sentence
    assert "give a smaller --pad-to" in sentence and not out.exists()


@pytest.mark.parametrize(
    ("count", "side"), [(1, 1), (3000, 8), (1500, 32), (900, 36), (700, 45), (600, 64)]
)
def test_the_size_is_foretold(tmp_path, count, side):
    data = LabelledImages(
        np.zeros((count, 1, side, side), np.uint8), np.full(count, 9, np.uint8), ()
    )
    info = datum_lmdb.write(tmp_path / "lmdb", data, {}, lambda done: None)
    foretold = datum_lmdb.database_bytes(len(data), data.shape)
    assert info["bytes"] <= foretold <= 1.3 * info["bytes"] + 2**20
