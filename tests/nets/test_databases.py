"""The look at databases before anything runs: damage, labels, and what it reads."""

import os
import random
import subprocess
import sys

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator import lmdb_pages
from generator.errors import UserError
from generator.survey import survey
from swwae.base import project
from swwae.nets import databases
from tests.helpers.datum_lmdb import PAGE, image, kinds, overwrite, write
from tests.helpers.photographs import jpeg, photograph

BRANCH, LEAF, OVERFLOW = 1, 2, 4


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def inline(tmp_path):
    """Images in the leaves, below a branch."""
    return write(tmp_path / "inline_lmdb", (image(i % 3, 32) for i in range(20)))


@pytest.fixture
def apart(tmp_path):
    """Images on pages of their own."""
    return write(tmp_path / "apart_lmdb", (image(i % 3, 100) for i in range(4)))


def fault(folder) -> str:
    with pytest.raises(UserError) as raised:
        databases.examined(folder, afresh=True)
    return str(raised.value)


def test_what_is_whole(inline, apart):
    assert kinds(inline).count(BRANCH) == 1 and kinds(apart).count(OVERFLOW) == 4
    assert databases.examined(inline).images == 20
    assert databases.examined(apart).images == 4
    for folder in (inline, apart):
        assert databases.examined(folder).labels == ((0, 2),)
        os.remove(folder / "lock.mdb")
        folder.chmod(0o555)  # nothing is written into it
        databases.examined(folder, afresh=True)
        assert [file.name for file in folder.iterdir()] == ["data.mdb"]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([3], ((3, 3),)),
        ([-1, -1], ((-1, -1),)),
        ([7, -1, 2**31 - 1, 6, -(2**31)], None),
    ],
)
def test_every_label_is_read(labels, found, tmp_path):
    folder = write(tmp_path / "lmdb", map(image, labels))
    wanted = found or tuple(
        (a, b) for a, b in [(-(2**31),) * 2, (-1, -1), (6, 7), (2**31 - 1,) * 2]
    )
    assert survey(folder).labels == wanted


def test_every_kind_of_datum(tmp_path):
    """In any order of the fields, with floats, encoded, with unknown fields."""
    plain = image(5)
    reversed_fields = b"".join(
        caffe_pb2.Datum(**{name: getattr(plain, name)}).SerializeToString()
        for name in ("label", "data", "width", "height", "channels")
    )
    floats = caffe_pb2.Datum(channels=3, height=40, width=40, label=6)
    floats.float_data.extend([0.5] * 4800)
    picture = jpeg(photograph("chelsea.png"))
    encoded = caffe_pb2.Datum(data=picture, encoded=True, label=7)
    unset = caffe_pb2.Datum(channels=1, height=1, width=1, data=b"x")  # label 0
    unknown = image(8).SerializeToString() + b"\xa2\x06\x03abc" + b"\x49" + bytes(8)
    twice = image(1).SerializeToString() + b"\x28\x09"  # the last one counts
    records = [plain, reversed_fields, floats, encoded, unset, unknown, twice]
    assert survey(write(tmp_path / "lmdb", records)).labels == ((0, 0), (5, 9))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"", "entry 00000001 holds no pixels"),
        (bytes(300), "entry 00000001 is no Datum"),
        (b"\xff" * 40, "entry 00000001 is no Datum"),
        (image(0).SerializeToString()[:-3], "entry 00000001 is no Datum"),
        (image(0, 2, data=b"abc"), "entry 00000001 has 3 values, not 1x2x2"),
        (image(0, 2, data=b""), "entry 00000001 holds no pixels"),
        (image(0, 2, encoded=True), "is marked as encoded, and is no picture"),
    ],
)
def test_a_record_that_is_no_image(record, words, tmp_path):
    folder = write(tmp_path / "some_lmdb", [image(0), record])
    assert words in fault(folder)
    assert fault(folder).endswith("make the database again.")
    assert str(folder) in fault(folder)


def test_damaged_files(inline, apart, tmp_path):
    empty = write(tmp_path / "empty_lmdb", [])
    assert "is empty: it holds no image" in fault(empty)
    content = (inline / "data.mdb").read_bytes()
    cases = {
        b"": "is no LMDB: its data.mdb has 0 bytes",
        content[: 2 * PAGE - 1]: "lacks its end",
        content[:-PAGE]: "lacks its end",
        bytes(len(content)): "does not begin as one",
    }
    for bytes_left, words in cases.items():
        (inline / "data.mdb").write_bytes(bytes_left)
        assert words in fault(inline)
    for page, kind in enumerate(kinds(apart)):
        if kind == OVERFLOW:
            overwrite(apart, page, bytes(PAGE))
            assert f"page {page} is no image's" in fault(apart)
            break


def test_pages_in_a_circle(inline):
    """A branch that is its own child."""
    page = kinds(inline).index(BRANCH)
    content = (inline / "data.mdb").read_bytes()[page * PAGE :]
    node = int.from_bytes(content[16:18], "little")
    overwrite(inline, page, page.to_bytes(4, "little"), node)
    assert "is damaged: page" in fault(inline)


READ = """
import sys, lmdb
environment = lmdb.open(sys.argv[1], readonly=True, lock=False)
with environment.begin() as transaction:
    for key, value in transaction.cursor():
        bytes(value)
"""


def test_lmdb_survives_what_is_found_whole(inline):
    """Any byte of the tree's pages may be wrong: either that is said, or LMDB can read
    the file all the same."""
    draw = random.Random(1)
    whole = (inline / "data.mdb").read_bytes()
    tree = [n for n, kind in enumerate(kinds(inline)) if kind in (BRANCH, LEAF)]
    passed = 0
    for _ in range(150):
        page, offset = draw.choice(tree), draw.randrange(40)
        overwrite(inline, page, bytes([draw.randrange(256)]), offset)
        try:
            lmdb_pages.check_pages(inline)
        except lmdb_pages.Damaged:
            pass
        else:
            passed += 1
            if passed <= 12:
                command = [sys.executable, "-c", READ, str(inline)]
                assert subprocess.run(command, timeout=30).returncode == 0
        (inline / "data.mdb").write_bytes(whole)
    assert 0 < passed < 150


def test_what_was_found_is_kept_as_long_as_the_file(inline, runs, monkeypatch):
    first = databases.examined(inline)
    looked = []

    def look(folder, progress):
        looked.append(folder)
        return survey(folder, progress)

    monkeypatch.setattr(databases, "survey", look)
    assert databases.examined(inline) == first and not looked
    assert databases.examined(inline, afresh=True) == first and len(looked) == 1
    (record,) = (runs / ".databases").iterdir()
    record.write_text("{}")
    assert databases.examined(inline) == first and len(looked) == 2
    overwrite(inline, kinds(inline).index(LEAF), bytes(PAGE))
    with pytest.raises(UserError, match="is damaged"):
        databases.examined(inline)


def test_pixels_on_pages_of_their_own_are_not_read(apart, monkeypatch):
    """Of an image of 10,000 bytes less than a hundredth is, however many there are."""
    read = []
    pread = os.pread

    def counted(file, size, start):
        read.append(size)
        return pread(file, size, start)

    monkeypatch.setattr(lmdb_pages.os, "pread", counted)
    survey(apart)
    assert sum(size for size in read if size < PAGE) < 4 * 100 + 2 * 200
    assert sum(size == PAGE for size in read) == 1  # the leaf


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fashion_mnist/train_lmdb", "data/fashion_mnist/create.py"),
        ("ilsvrc12/train_lmdb", "data/ilsvrc12/create.py --train SOURCE"),
        ("ilsvrc12/val_lmdb", "data/ilsvrc12/create.py --val SOURCE"),
        ("nowhere/unlabelled_lmdb", "few_labels.py --labels N --data data/nowhere"),
        ("no where/labelled7_seed3_lmdb", "--labels 7 --seed 3 --data 'data/no where'"),
        ("nowhere/train_lmdb", None),
    ],
)
def test_the_command_that_makes_a_database(name, command):
    found = databases.how_made(project.ROOT / "data" / name)
    assert found is None if command is None else found.endswith(command)


def test_the_command_for_images_without_labels_names_those_with_labels(tmp_path):
    (tmp_path / "labelled20_seed3_lmdb").mkdir()
    found = databases.how_made(tmp_path / "unlabelled_lmdb")
    assert found == f"data/few_labels.py --labels 20 --seed 3 --data {tmp_path}"


# --- labels against outputs

NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label" {phase}
  data_param {{ source: "{source}" backend: LMDB batch_size: 2 }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 3 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "ip" top: "ip" }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" {loss} }}
"""


def compare(tmp_path, labels, loss="", phase="", net=NET) -> str | None:
    folder = tmp_path / "some_lmdb"
    if not folder.exists():
        write(folder, map(image, labels))
    text = net.format(source=folder, loss=loss, phase=phase)
    message = text_format.Parse(text, caffe_pb2.NetParameter())
    try:
        databases.check(message, tmp_path / "net.prototxt")
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("phase", ["", "include { phase: TEST }"])
@pytest.mark.parametrize(
    ("labels", "loss", "words"),
    [
        ([0, 1, 2], "", None),
        ([0, 0], "", None),
        ([0, 5], "", "has the labels 0 and 5, and 'loss' of"),
        ([0, 5], "", "3 outputs, for the labels 0 to 2: take other data, or"),
        ([0, 5], "", "num_output: 6."),
        ([1, 2, 3], "", "the labels 1 to 3"),
        ([1, 2, 3], "", "Caffe counts classes from 0"),
        ([-1, 0, 2], "", "give the layer loss_param { ignore_label: -1 }."),
        ([-1, 0, 2], "loss_param { ignore_label: -1 }", None),
        ([0, 2, 255], "loss_param { ignore_label: 255 }", None),
        ([0, 3, 255], "loss_param { ignore_label: 255 }", "and 255"),
        ([-2, 0], "loss_param { ignore_label: -1 }", "classes are counted from 0"),
    ],
)
def test_labels_beyond_the_outputs(tmp_path, labels, loss, phase, words):
    found = compare(tmp_path, labels, loss, phase)
    assert found is None if words is None else words in found
    if words:
        assert "\n" not in found and found.count(". ") == 0


JOINED = """
layer {{ name: "a" type: "Data" top: "a" top: "la"
  data_param {{ source: "{source}" backend: LMDB batch_size: 2 }} }}
layer {{ name: "b" type: "Data" top: "b" top: "lb"
  data_param {{ source: "{source}2" backend: LMDB batch_size: 2 }} }}
layer {{ name: "d" type: "Concat" bottom: "a" bottom: "b" top: "d"
  concat_param {{ axis: 0 }} }}
layer {{ name: "l" type: "Concat" bottom: "la" bottom: "lb" top: "l"
  concat_param {{ axis: 0 }} }}
layer {{ name: "c1" type: "Convolution" bottom: "d" top: "c1"
  convolution_param {{ num_output: 2 kernel_size: 1 }} }}
layer {{ name: "c2" type: "Convolution" bottom: "d" top: "c2"
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "c" type: "Concat" bottom: "c1" bottom: "c2" top: "c" }}
layer {{ name: "p" type: "Pooling" bottom: "c" top: "p"
  pooling_param {{ global_pooling: true }} }}
layer {{ name: "right" type: "Accuracy" bottom: "p" bottom: "l" {loss} {phase} }}
"""


def test_labels_of_two_databases_that_are_joined(tmp_path):
    """As with few labels; the scores are joined, too."""
    other = write(tmp_path / "some_lmdb2", [image(3), image(-1)])
    found = compare(tmp_path, [0, 2], net=JOINED)
    assert found.startswith(f"{other} has the labels -1 and 3, and 'right' of")
    assert "compares 3 outputs" in found
    ignored = "accuracy_param { ignore_label: 3 }"
    assert "-1 is no class" in compare(tmp_path, [], ignored, net=JOINED)


RESHAPED = """
layer {{{{ name: "f" type: "{kind}" bottom: "ip" top: "f" {fields} }}}}
layer {{{{ name: "loss" type: "HingeLoss" bottom: "f" bottom: "label" }}}}
"""


@pytest.mark.parametrize(
    ("kind", "fields", "outputs"),
    [
        ("Flatten", "", 3),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", 3),
        ("Reshape", "reshape_param { shape { dim: 0 dim: 0 } }", 3),
        ("Reshape", "reshape_param { shape { dim: -1 dim: 3 dim: 1 dim: 1 } }", 3),
        ("Reshape", "reshape_param { axis: 1 shape { dim: -1 dim: 1 } }", 3),
        ("Reshape", "reshape_param { shape { dim: -1 dim: 1 } }", 1),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }", None),
        ("Flatten", "flatten_param { axis: 0 }", None),
    ],
)
def test_scores_that_are_reshaped(tmp_path, kind, fields, outputs):
    fields = fields.replace("{", "{{").replace("}", "}}")
    net = NET + RESHAPED.format(kind=kind, fields=fields)
    net = net.replace("{loss}", "loss_param {{ ignore_label: -1 }}")
    found = compare(tmp_path, [-1, 0, 2], net=net)
    if outputs is None:
        assert found is None
    else:
        noun = "one output," if outputs == 1 else f"{outputs} outputs, for the labels"
        assert noun in found and found.endswith("again with labels from 0 on.")


def test_images_without_classes_may_have_any_label(tmp_path):
    """Nothing compares the labels with scores."""
    regression = NET.replace("SoftmaxWithLoss", "EuclideanLoss")
    assert compare(tmp_path, [812, -5], net=regression) is None


def test_labels_in_a_list_of_files(tmp_path):
    (tmp_path / "list.txt").write_text("a b.png 2\nc.png 4\n")
    text = NET.replace('type: "Data"', 'type: "ImageData"')
    text = text.replace("data_param", "image_data_param").replace("backend: LMDB", "")
    text = text.replace("{source}", str(tmp_path / "list.txt"))
    found = compare(tmp_path, [0], net=text)
    assert "list.txt has the labels 2 and 4, and 'loss'" in found
