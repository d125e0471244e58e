"""What create.py refuses, and what it leaves as it lies."""

import json
import os
import sys
import tarfile

import pytest

from swwae.commands import create_ilsvrc12
from swwae.datasets import image_search
from tests.helpers.ilsvrc12 import (
    MAX_SIDE,
    SCRIPT,
    WNIDS,
    image,
    read_back,
    tar_bytes,
    training_set,
    write_devkit,
    write_source,
    write_tree,
)


def refusals(folder):
    """{name: (arguments, words)}"""
    files = training_set(1)
    tree = write_source(folder, "class folders", files)
    other = write_tree(folder / "other", {"n1/a.jpg": image(1)})
    zipped = folder / "a.tar.gz"
    with tarfile.open(zipped, "w:gz") as archive:
        archive.add(tree, "x")
    flat_tar = folder / "flat.tar"
    flat_tar.write_bytes(tar_bytes([("a.jpg", image(1))]))
    empty = folder / "empty"
    empty.mkdir()
    no_images = write_tree(folder / "texts", {"a/a.txt": b"a"})
    both = write_tree(folder / "both", {"n01440764.tar": b"", "n01443537/a.jpg": b""})
    val = write_tree(folder / "val", {"ILSVRC2012_val_00000002.JPEG": image(1)})
    devkit = write_devkit(folder / "short", [1])
    strange = write_devkit(folder / "strange", [1, 77])
    broken = write_devkit(folder / "broken", [1, 2])
    (broken / "data" / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    nested = write_tree(folder / "nested", {"train/n01440764/a.jpg": image(1)})
    nested_tar = folder / "nested.tar"
    nested_tar.write_bytes(tar_bytes([("train/n01440764/a.jpg", image(1))]))
    no_tar = folder / "no.tar"
    no_tar.write_bytes(bytes(10_240))
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    lists = {}
    for name, text in {
        "no label": "a.jpg\n",
        "negative": "a.jpg -1\n",
        "large": "a.jpg 65536\n",
        "endless label": f"a.jpg {'1' * 5000}\n",
        "endless line": f"{'a' * image_search.MAX_LINE}.jpg 1\n",
        "binary": "\0\1\2 3\n",
        "nothing": "none.jpg 1\n",
        "empty list": "",
    }.items():
        lists[name] = folder / f"{name}.txt"
        lists[name].write_text(text)
    return {
        "absent": (["--train", folder / "nowhere"], "there is no"),
        "compressed": (["--train", zipped], "decompress it first"),
        "flat tar": (["--train", flat_tar], "expected tars of classes"),
        "empty folder": (["--train", empty], "expected a folder for each class"),
        "no images": (["--train", no_images], "holds no image"),
        "both": (["--train", both], "both tars and folders"),
        "no devkit": (["--val", val], "--devkit"),
        "devkit absent": (["--val", val, "--devkit", empty], "meta.mat"),
        "devkit no tar": (["--val", val, "--devkit", lists["large"]], "devkit"),
        "devkit short": (["--val", val, "--devkit", devkit], "1 images"),
        "devkit strange": (["--val", val, "--devkit", strange], "'77'"),
        "devkit broken": (["--val", val, "--devkit", broken], "fetch it"),
        "no label": (["--train", lists["no label"]], "line 1"),
        "negative": (["--train", lists["negative"]], "line 1"),
        "large": (["--train", lists["large"]], "65535"),
        "binary": (["--train", lists["binary"]], "line 1"),
        "endless label": (["--train", lists["endless label"]], "line 1"),
        "endless line": (["--train", lists["endless line"]], "line 1"),
        "nested": (["--train", nested], "give what is in train"),
        "nested tar": (["--train", nested_tar], "give what is in train"),
        "no tar": (["--train", no_tar], "though its name says so: fetch it again"),
        "pipe": (["--train", pipe], "neither a file nor a folder"),
        "nothing": (["--train", lists["nothing"]], "--root"),
        "empty list": (["--train", lists["empty list"]], "--root"),
        "classes": (["--train", tree, "--val", other], "the same classes"),
        "quality": (["--train", tree, "--quality", "0"], "from 1 to 100"),
        "jobs": (["--train", tree, "--jobs", "0"], "from 1 to"),
        "many jobs": (["--train", tree, "--jobs", "100000"], "from 1 to"),
        "side": (["--train", tree, "--max-side", "65536"], "from 0 to 65535"),
        "nothing given": ([], "--train"),
        "no database": (["--check"], "neither"),
        "out is a file": (["--train", tree, "--out", zipped], "give --out a folder"),
    }


def test_what_is_refused(create, tmp_path, capsys, monkeypatch):
    for name, (arguments, words) in refusals(tmp_path / "s").items():
        # argparse's own sentences
        if name in ("quality", "jobs", "many jobs", "side", "nothing given"):
            monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
            with pytest.raises(SystemExit) as end:
                create_ilsvrc12.main()
            assert end.value.code == 2 and words in capsys.readouterr().err, name
        else:
            error = create(*arguments, expect=2)
            assert words in error, (name, error)
        out = tmp_path / "out"
        assert not out.exists() or not list(out.glob("*_lmdb")), name


def test_existing_databases_must_number_the_same_classes(create, tmp_path):
    tree = write_source(tmp_path / "s", "class folders", training_set())
    other = write_tree(tmp_path / "other", {"n1/a.jpg": image(1)})
    create("--train", tree)
    error = create("--val", other, expect=2)
    assert "n01440764 is in the training images alone" in error
    assert "give --train, too" in error
    listed = tmp_path / "list.txt"
    listed.write_text(f"other/n1/a.jpg {len(WNIDS)}\n")
    assert "labels up to" in create("--val", listed, expect=2)
    listed.write_text(f"other/n1/a.jpg {len(WNIDS) - 1}\n")
    create("--val", listed)
    create("--check")


def test_rerun_does_nothing_and_other_options_are_told(create, tmp_path):
    source = write_source(tmp_path / "s", "tar of tars", training_set())
    create("--train", source, "--max-side", MAX_SIDE)
    database = tmp_path / "out" / "train_lmdb"
    before = (database / "data.mdb").stat().st_mtime_ns, read_back(database)
    said = create("--train", source, "--max-side", MAX_SIDE)
    assert "Nothing to do" in said
    error = create("--train", source, "--max-side", 32, expect=2)
    assert "max-side 64, asked for is 32: --force" in error
    error = create("--train", source, "--max-side", 64, "--seed", 1, expect=2)
    assert "seed 0, asked for is 1" in error
    os.utime(source)
    error = create("--train", source, "--max-side", MAX_SIDE, expect=2)
    assert "other files, or they have been changed" in error
    assert before == ((database / "data.mdb").stat().st_mtime_ns, read_back(database))
    create("--train", source, "--max-side", MAX_SIDE, "--seed", 1, "--force")
    assert sorted(read_back(database)) == sorted(before[1]) and (
        read_back(database) != before[1]
    )


def test_names_of_classes_need_not_be_utf8(create, tmp_path):
    files = {os.fsdecode(b"caf\xe9/a.jpg"): image(1), "thé/b.jpg": image(2)}
    source = write_tree(tmp_path / "s", files)
    for _ in range(2):
        create("--train", source, "--max-side", MAX_SIDE)
    info = json.loads((tmp_path / "out/train_lmdb/info.json").read_bytes())
    assert [os.fsencode(name) for name in info["classes"]] == [
        b"caf\xe9",
        "thé".encode(),
    ]
    assert "every" in create("--check").lower()


def test_something_else_in_the_way_stays(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set(1))
    mine = tmp_path / "out" / "train_lmdb"
    write_tree(mine, {"thesis.txt": b"mine"})
    error = create("--train", source, "--force", expect=2)
    assert "move it away" in error and (mine / "thesis.txt").exists()
