"""The databases, read back by hand, hold what the IDX files held, or don't exist."""

import gzip
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import caffe
import lmdb
import numpy as np
import pytest

from generator.errors import UserError
from swwae.base import program
from swwae.commands import create_fashion_mnist
from swwae.datasets import database_folders, datum_lmdb, fashion_mnist
from swwae.datasets.labelled_images import LabelledImages

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


@pytest.fixture
def create(monkeypatch, capsys):
    """Runs the script here; returns its stdout, or where it fails its one sentence."""

    def run(*arguments, expect=0):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            program.run(create_fashion_mnist.main)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run


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


def pad_slowly(image, side):
    """`image` (height × width) centred among zeros, pixel by pixel, as bytes."""
    height, width = image.shape
    top, left = (side - height) // 2, (side - width) // 2
    padded = bytearray(side * side)
    for row in range(height):
        for column in range(width):
            padded[(row + top) * side + column + left] = image[row, column]
    return bytes(padded)


def everything(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture
def source(tmp_path):
    write_set(tmp_path / "idx")
    return tmp_path / "idx"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out"


@pytest.mark.parametrize("side", [5, 8, 11])
def test_records_are_the_padded_images_in_another_order(create, tmp_path, out, side):
    sets = write_set(tmp_path / "idx")
    create("--source", tmp_path / "idx", "--out", out, "--pad-to", side)
    assert {path.name for path in out.iterdir()} == {"train_lmdb", "test_lmdb"}
    for split, (images, labels) in sets.items():
        records = read_back(out / f"{split}_lmdb")
        assert [record[0] for record in records] == [
            f"{index:08d}".encode() for index in range(len(images))
        ]
        assert all(record[1:4] == (1, side, side) for record in records)
        found = [(pixels, label) for *_, pixels, label in records]
        given = [
            (pad_slowly(image, side), int(label))
            for image, label in zip(images, labels)
        ]
        assert found != given
        assert Counter(found) == Counter(given)


def test_info_says_what_is_inside(create, tmp_path, source, out):
    sets = write_set(source)
    said = create("--source", source, "--out", out, "--seed", 3, "--pad-to", 7)
    for split, (images, labels) in sets.items():
        info = json.loads((out / f"{split}_lmdb" / "info.json").read_text())
        assert info["images"] == len(images) and info["shape"] == [1, 7, 7]
        assert info["images_per_label"] == [
            labels.tolist().count(label) for label in range(10)
        ]
        total = sum(int(pixel) for pixel in images.ravel())
        assert info["mean"] == pytest.approx([total / (len(images) * 49)], rel=1e-12)
        assert info["seed"] == 3 and info["padded_to"] == 7
        assert info["sources"] == [
            f"{PREFIXES[split]}-images-idx3-ubyte",
            f"{PREFIXES[split]}-labels-idx1-ubyte",
        ]
    mean = sum(map(int, sets["train"][0].ravel())) / (37 * 49)
    assert f"{mean:.4f}" in said
    assert "37 images, 1 × 7 × 7 (channels × height × width), 10 classes" in said


def test_same_seed_same_bytes_other_seed_other_order(create, tmp_path, source):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        create("--source", source, "--out", tmp_path / name, "--seed", seed)
    for split in ("train_lmdb", "test_lmdb"):
        a, b, c = (read_back(tmp_path / name / split) for name in "abc")
        assert a == b
        assert a != c and sorted(r[4:] for r in a) == sorted(r[4:] for r in c)
        info_a, info_b = (
            (tmp_path / name / split / "info.json").read_bytes() for name in "ab"
        )
        assert info_a == info_b


def test_the_order_is_the_raw_stream_of_pcg64(create, source, tmp_path, out):
    images, _ = write_set(source)["train"]
    create("--source", source, "--out", out, "--seed", 11, "--pad-to", 5)
    keys = np.random.PCG64(11).random_raw(len(images)).tolist()
    order = sorted(range(len(images)), key=keys.__getitem__)
    assert [record[4] for record in read_back(out / "train_lmdb")] == [
        pad_slowly(images[index], 5) for index in order
    ]


def test_gzipped_files_give_the_same_records(create, tmp_path, source):
    write_set(tmp_path / "gz", pack=gzip.compress, suffix=".gz")
    create("--source", source, "--out", tmp_path / "a")
    create("--source", tmp_path / "gz", "--out", tmp_path / "b")
    for split in ("train_lmdb", "test_lmdb"):
        assert read_back(tmp_path / "a" / split) == read_back(tmp_path / "b" / split)
    # Known by content: what was made from the ones is what the others ask for.
    assert "nothing to do" in create(
        "--source", tmp_path / "gz", "--out", tmp_path / "a"
    )


def test_caffe_reads_the_database_in_its_order(create, source, out):
    create("--source", source, "--out", out, "--pad-to", 6)
    records = read_back(out / "train_lmdb")
    description = out / "net.prototxt"
    description.write_text(
        'layer { name: "data" type: "Data" top: "data" top: "label"\n'
        f'  data_param {{ source: "{out / "train_lmdb"}" backend: LMDB\n'
        "    batch_size: 37 } }\n"
    )
    net = caffe.Net(str(description), caffe.TEST)
    net.forward()
    assert net.blobs["data"].data.shape == (37, 1, 6, 6)
    for index, (*_, pixels, label) in enumerate(records):
        assert net.blobs["data"].data[index].ravel().tolist() == list(pixels)
        assert net.blobs["label"].data[index] == label


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
