"""Image files in folders, or in a CSV, as databases of one size."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tests.helpers.fashion_mnist import everything, read_back

CLASSES = ("crow", "owl", "wren")


def colour(label, number):
    """A colour of its own for each image, that PNG keeps: RGB."""
    return 10 + 80 * label, 3 * number, 200


def write_image(path, label=0, number=0, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour(label, number)).convert(mode).save(path)


def write_tree(folder, count=10, first=0):
    for label, name in enumerate(CLASSES):
        for number in range(first, first + count):
            write_image(folder / name / f"{number}.png", label, number)


def stored(path):
    """[(RGB of the first pixel, label)] of a database, sorted."""
    found = []
    for _, channels, height, width, pixels, label in read_back(path):
        image = np.frombuffer(pixels, np.uint8).reshape(channels, height, width)
        assert (image == image[:, :1, :1]).all()
        found.append((tuple(image[::-1, 0, 0].tolist()), label))
    return sorted(found)


def expected(numbers):
    return sorted((colour(i, n), i) for i in range(len(CLASSES)) for n in numbers)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def refused(create, out):
    def run(source, *arguments):
        said = create("folder", "--source", source, "--out", out, *arguments, expect=2)
        assert not out.exists() or not list(out.iterdir())
        return said

    return run


def test_splits_by_folders(create, tmp_path, out):
    write_tree(tmp_path / "set/train")
    write_tree(tmp_path / "set/val", 2, first=20)
    write_tree(tmp_path / "set/test", 3, first=30)
    write_image(tmp_path / "set/unlabelled/deep/down/a.png", 2, 80)
    write_image(tmp_path / "set/unlabelled/b.JPG", 0, 0)
    (tmp_path / "set/train/owl/notes.txt").write_text("not an image")
    said = create("folder", "--source", tmp_path / "set", "--out", out, "--side", 24)
    assert stored(out / "train_lmdb") == expected(range(10))
    assert stored(out / "val_lmdb") == expected((20, 21))
    assert stored(out / "test_lmdb") == expected((30, 31, 32))
    records = read_back(out / "unlabelled_lmdb")
    assert [label for *_, label in records] == [2**64 - 1] * 2  # as protobuf has -1
    assert "left out, being no images by their names (.jpg, .jpeg, .png): 1" in said
    info = json.loads((out / "train_lmdb/info.json").read_text())
    assert info["classes"] == list(CLASSES) and info["shape"] == [3, 24, 24]
    create("folder", "--check", "--out", out)


def test_validation_images_are_for_tests_where_there_are_no_others(
    create, tmp_path, out
):
    write_tree(tmp_path / "set/train")
    write_tree(tmp_path / "set/val", 2, first=20)
    create("folder", "--source", tmp_path / "set", "--out", out)
    assert stored(out / "test_lmdb") == expected((20, 21))
    assert not (out / "val_lmdb").exists()


def test_a_share_of_every_class_is_held_out(create, tmp_path, out):
    write_tree(tmp_path / "set", 20)
    arguments = ("--source", tmp_path / "set", "--hold-out", 0.25)
    said = create("folder", *arguments, "--out", out)
    train, test = stored(out / "train_lmdb"), stored(out / "test_lmdb")
    assert sorted(train + test) == expected(range(20))
    assert Counter(label for _, label in test) == dict.fromkeys(range(3), 5)
    assert "nothing to do" in create("folder", *arguments, "--out", out)
    assert "-m generator vgg8_32 --name out" in said
    create("folder", *arguments, "--out", tmp_path / "other", "--seed", 1)
    assert stored(tmp_path / "other/test_lmdb") != test


def test_a_list_of_files_and_names(create, tmp_path, out):
    write_tree(tmp_path / "images", 4)
    names = [f"{name}/{n}.png" for name in CLASSES for n in range(4)]
    lines = [f"{name},{name.partition('/')[0]}" for name in reversed(names)]
    (tmp_path / "train.csv").write_text("\n".join(["file,label", *lines[4:], ""]))
    (tmp_path / "test.csv").write_text(
        "\r\n".join(f'"{x}",{y}' for x, y in [line.split(",") for line in lines[:4]])
    )
    arguments = ["--root", tmp_path / "images", "--out", out]
    arguments += ["--source", tmp_path / "train.csv"]
    (tmp_path / "few.csv").write_text("\n".join(lines[:4]))
    said = create("folder", *arguments, "--test", tmp_path / "few.csv", expect=2)
    assert "of class wren, which no training image is of" in said
    (tmp_path / "train.csv").write_text("\n".join(["file,label", *lines]))
    create("folder", *arguments, "--test", tmp_path / "test.csv")
    assert stored(out / "train_lmdb") == expected(range(4))
    assert {label for _, label in stored(out / "test_lmdb")} == {2}
    info = json.loads((out / "train_lmdb/info.json").read_text())
    assert info["classes"] == list(CLASSES)


def test_numbers_of_a_list_stay(create, tmp_path, out):
    for number in range(6):
        write_image(tmp_path / f"{number}.png", 0, number)
    rows = [f"{number}.png,{5 if number % 2 else 0}" for number in range(6)]
    (tmp_path / "all.csv").write_text("\n".join(rows))
    said = create(
        "folder", "--source", tmp_path / "all.csv", "--out", out, "--hold-out", 0.3
    )
    labels = [
        label for name in ("train", "test") for _, label in stored(out / f"{name}_lmdb")
    ]
    assert Counter(labels) == {0: 3, 5: 3}
    assert "labels 0 and 5" in said and "--classes 6 " in said


def test_images_become_square_and_of_one_kind(create, tmp_path, out):
    """The shorter edge becomes --side long, and the middle of the other one stays."""
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = (200, 100, 50)
    (tmp_path / "set/a").mkdir(parents=True)
    Image.fromarray(wide).save(tmp_path / "set/a/wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "set/a/high.png")
    for mode in ("L", "RGBA", "CMYK"):
        ending = "jpg" if mode == "CMYK" else "png"
        write_image(tmp_path / f"set/a/{mode}.{ending}", mode=mode)
    arguments = ("--source", tmp_path / "set", "--hold-out", 0.1, "--side", 8)
    create("folder", *arguments, "--out", out)
    middle = [
        pixels for pixels, _ in stored(out / "train_lmdb") + stored(out / "test_lmdb")
    ]
    assert middle.count((200, 100, 50)) == 2
    create("folder", *arguments, "--gray", "--out", tmp_path / "grey")
    records = read_back(tmp_path / "grey/train_lmdb")
    assert {record[1:4] for record in records} == {(1, 8, 8)}


def test_what_is_missing(refused, tmp_path):
    write_tree(tmp_path / "set/train")
    write_tree(tmp_path / "set/test")
    write_image(tmp_path / "set/test/finch/0.png")
    assert "lacks the class folder finch, which" in refused(tmp_path / "set")
    write_image(tmp_path / "set/train/finch/0.png")
    for image in (tmp_path / "set/test/owl").iterdir():
        image.unlink()
    assert "test/owl holds no image (.jpg, .jpeg, .png)" in refused(tmp_path / "set")
    (tmp_path / "set/test/owl").rmdir()
    said = refused(tmp_path / "set")
    assert "set/test lacks the class folder owl, which" in said
    train = tmp_path / "set/train"
    assert "give --test, a folder test beside train, or --hold-out" in refused(train)
    assert "leave --hold-out out" in refused(train, "--test", train, "--hold-out", 0.5)
    assert "leave --test out" in refused(tmp_path / "set", "--test", train)
    assert "there is no" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no folders" in refused(tmp_path / "empty", "--hold-out", 0.5)
    assert "class finch has 1 images" in refused(train, "--hold-out", 0.5)


def test_lists_that_are_none(refused, tmp_path):
    write_image(tmp_path / "a.png")
    path = tmp_path / "all.csv"
    for text, words in (
        (b"a.png,1\nb.png,1\n", "line 2 of"),
        (b"b.png,1\n", "there is no"),
        (b"a.png 1\n", "expected file,label, found 'a.png 1'"),
        (b"a.png,1,2\n", "expected file,label"),
        (b"a.png,\n", "expected file,label"),
        (b"a.png,1\na.png,2\n", "is there twice"),
        (b"a.txt,1\n", "is no image"),
        (b"a.png,99999\n", "labels are numbers up to 65535"),
        (b"a.png,-1\n", "whole numbers from 0 on, found -1"),
        (b"", "lists no image"),
        (b"file,label\n", "lists no image"),
        (b"\xff\xfe\x00", "is no CSV"),
        (b'"a.png,1\n', "is no CSV"),
    ):
        path.write_bytes(text)
        assert words in refused(path, "--hold-out", 0.5), text


def test_images_that_cannot_be_read(create, refused, tmp_path, out):
    write_tree(tmp_path / "set", 4)
    whole = (tmp_path / "set/owl/1.png").read_bytes()
    (tmp_path / "set/owl/1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set/wren/2.png").write_text("no image")
    arguments = ("--hold-out", 0.25)
    said = refused(tmp_path / "set", *arguments)
    assert "cannot be decoded" in said or "known format" in said
    assert "--skip-unreadable" in said
    source = ("--source", tmp_path / "set", "--out", out)
    said = create("folder", *source, *arguments, "--skip-unreadable")
    assert said.count("left out: ") == 2
    train, test = stored(out / "train_lmdb"), stored(out / "test_lmdb")
    lost = [(colour(1, 1), 1), (colour(2, 2), 2)]
    assert sorted(train + test + lost) == expected(range(4))


def test_files_that_change_are_told(create, tmp_path, out):
    write_tree(tmp_path / "set", 4)
    arguments = ("--source", tmp_path / "set", "--out", out, "--hold-out", 0.25)
    create("folder", *arguments)
    before = everything(out)
    write_image(tmp_path / "set/owl/1.png", 1, 77)
    said = create("folder", *arguments, expect=2)
    assert "--force makes it anew" in said and everything(out) == before
    said = create("folder", *arguments, "--side", 16, expect=2)
    assert "--force makes it anew" in said
    create("folder", *arguments, "--force")
    both = stored(out / "train_lmdb") + stored(out / "test_lmdb")
    assert (colour(1, 77), 1) in both
