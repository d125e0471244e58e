"""Which databases are made, left alone, checked or refused beside what is there."""

import json
import shutil
from pathlib import Path

import lmdb
import pytest

from swwae.datasets import fashion_mnist
from tests.helpers.fashion_mnist import SCRIPT, everything, read_back, start, write_set


def test_complete_databases_are_left_alone_unless_forced(create, source, out):
    arguments = ("--source", source, "--out", out)
    create(*arguments)
    data = out / "train_lmdb" / "data.mdb"
    before = data.stat()
    assert "nothing to do" in create(*arguments)
    assert data.stat() == before
    create(*arguments, "--force")
    assert data.stat().st_ino != before.st_ino
    assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}


def test_the_library_says_what_it_has_made(source, out):
    infos, changed = fashion_mnist.create(out, source=source, seed=3, side=8)
    train, test = out / "train_lmdb", out / "test_lmdb"
    assert changed and list(infos) == [train, test]
    assert infos[train]["shape"] == [1, 8, 8] and infos[train]["seed"] == 3
    assert infos[test] == json.loads((test / "info.json").read_text())
    assert fashion_mnist.check(out) == infos
    again = fashion_mnist.create(out, source=source, seed=3, side=8)
    assert again == (infos, False)


def test_only_what_is_missing_is_made(create, source, out):
    arguments = ("--source", source, "--out", out)
    create(*arguments)
    train = (out / "train_lmdb" / "data.mdb").stat()
    test = read_back(out / "test_lmdb")
    shutil.rmtree(out / "test_lmdb")
    said = create(*arguments)
    assert "test_lmdb: 11 of 11 images" in said and "train_lmdb: 37 of" not in said
    assert (out / "train_lmdb" / "data.mdb").stat() == train
    assert read_back(out / "test_lmdb") == test


def test_databases_made_otherwise_are_not_passed_off(create, tmp_path, source, out):
    create("--source", source, "--out", out)
    write_set(tmp_path / "other", height=6)
    for arguments, words in (
        (("--seed", 1), "was made with seed 0, asked for is 1"),
        (("--pad-to", 40), "was made with padded_to 32, asked for is 40"),
        (("--source", tmp_path / "other"), "was not made from the files of --source"),
    ):
        sentence = create("--source", source, "--out", out, *arguments, expect=2)
        assert words in sentence and "--force" in sentence


def test_other_sets_are_not_passed_off_as_fashion_mnist(create, source, out):
    create("--source", source, "--out", out)
    before = read_back(out / "train_lmdb")
    sentence = create("--out", out, expect=2)
    assert "train_lmdb was not made from Fashion-MNIST: give --source" in sentence
    shutil.rmtree(out / "train_lmdb")
    assert "test_lmdb was not made from Fashion-MNIST" in create("--out", out, expect=2)
    assert [path.name for path in out.iterdir()] == ["test_lmdb"]
    create("--source", source, "--out", out)
    assert read_back(out / "train_lmdb") == before


@pytest.mark.parametrize("extra", [(), ("--force",)])
def test_other_sets_take_a_folder_of_their_own(
    create, monkeypatch, tmp_path, source, extra
):
    home = tmp_path / "fashion_mnist"
    home.mkdir()
    monkeypatch.setattr(fashion_mnist, "HOME", home)
    (tmp_path / "link").symlink_to(home)
    for out in (home, tmp_path / "link"):
        sentence = create("--source", source, "--out", out, *extra, expect=2)
        assert f"the four files in {source} are not Fashion-MNIST's" in sentence
        assert f"{home} is for those alone" in sentence and "--out" in sentence
    assert list(home.iterdir()) == []


def test_without_out_other_sets_are_refused_in_the_scripts_folder(source):
    before = everything(SCRIPT.parent)
    process = start("--source", source, "--force")
    _, sentence = process.communicate(timeout=60)
    assert process.returncode == 2 and sentence.count("\n") == 1
    assert f"{SCRIPT.parent} is for those alone" in sentence
    assert everything(SCRIPT.parent) == before


def test_a_package_with_other_files_is_refused(create, monkeypatch, source, out):
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", source)
    sentence = create("--out", out, expect=2)
    assert "are not Fashion-MNIST's: install dataset-fashion-mnist anew" in sentence
    assert not out.exists()


def test_check_reads_everything_back(create, source, out):
    assert "there is no database" in create("--check", "--out", out, expect=2)
    create("--source", source, "--out", out)
    assert "Every record was read" in create("--check", "--out", out)

    data = out / "test_lmdb" / "data.mdb"
    whole = data.read_bytes()
    pixels = read_back(out / "test_lmdb")[4][4]
    place = whole.index(pixels)
    other = bytearray(whole)
    other[place + 9] = 255 - pixels[9]
    data.write_bytes(other)
    assert "test_lmdb is damaged: mean is" in create("--check", "--out", out, expect=2)

    swapped = bytearray(whole)  # two pixels: the mean stays
    first, second = place + 13 * 32 + 15, place + 14 * 32 + 15
    assert swapped[first] != swapped[second]
    swapped[first], swapped[second] = swapped[second], swapped[first]
    data.write_bytes(swapped)
    sentence = create("--check", "--out", out, expect=2)
    assert "damaged: records_sha256 is" in sentence

    data.write_bytes(whole[:-4096])
    for arguments in (("--check",), ("--source", source)):
        sentence = create(*arguments, "--out", out, expect=2)
        assert f"expected {len(whole)} bytes, found {len(whole) - 4096}" in sentence


def test_foreign_things_in_the_way_are_kept(create, source, out):
    out.mkdir(parents=True)
    (out / "train_lmdb").mkdir()
    (out / "train_lmdb" / "thesis.txt").write_text("precious")
    for extra in ((), ("--force",)):
        sentence = create("--source", source, "--out", out, *extra, expect=2)
        assert "train_lmdb exists and is not a database folder" in sentence
    assert everything(out) == {Path("train_lmdb"), Path("train_lmdb/thesis.txt")}


def test_a_database_of_another_program_takes_force(create, source, out):
    out.mkdir(parents=True)
    lmdb.open(str(out / "train_lmdb")).close()
    sentence = create("--source", source, "--out", out, expect=2)
    assert "not a database made here" in sentence and "--force" in sentence
    create("--source", source, "--out", out, "--force")
    assert len(read_back(out / "train_lmdb")) == 37
