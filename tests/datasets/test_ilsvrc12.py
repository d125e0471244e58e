"""ILSVRC's archives, made here in miniature, become the databases that they should."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import caffe
import cv2
import lmdb
import numpy as np
import pytest
import skimage
from caffe.proto import caffe_pb2
from PIL import Image
from scipy.io import savemat

from swwae.base import program
from swwae.commands import create_ilsvrc12
from swwae.datasets import encoded_state, image_search, jpegs
from swwae.datasets.labelled_images import shuffled_order

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data" / "ilsvrc12" / "create.py"
CONVERT = ROOT / "build" / "caffe" / "bin" / "convert_imageset"
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
WNIDS = ("n01440764", "n01443537", "n02123045", "n04067472")
IDS = {"n02123045": 1, "n01440764": 2, "n04067472": 3, "n01443537": 4}  # not sorted
MAX_SIDE = 64


def photograph(number, size=(80, 60), mode="RGB"):
    """A piece of a photograph, another one for each number; size: width, height."""
    name = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg")[number % 4]
    with Image.open(PHOTOGRAPHS / name) as picture:
        left, top = 13 * number % 150, 7 * number % 100
        picture = picture.convert("RGB").crop((left, top, left + 200, top + 150))
        return picture.resize(size).convert(mode)


def encoded(picture, kind="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def image(number, size=(80, 60), **options):
    return encoded(photograph(number, size), **options)


def training_set(count=3):
    """{WNID/name: content}: some to be shrunk to 64 pixels, some to be kept."""
    sizes = [(80, 60), (90, 120), (200, 150)]
    return {
        f"{wnid}/{wnid}_{number}.JPEG": image(9 * place + number, sizes[number % 3])
        for place, wnid in enumerate(WNIDS)
        for number in range(count)
    }


def label_of(name):
    return WNIDS.index(name.split("/")[0])


def tar_bytes(files):
    """A plain tar of {name: content or TarInfo}."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def write_tree(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def synset_tars(files):
    """{n########.tar: content}, its members without folders, as ILSVRC has them."""
    return {
        f"{wnid}.tar": tar_bytes(
            (name.split("/")[1], content)
            for name, content in reversed(files.items())
            if name.startswith(wnid)
        )
        for wnid in {name.split("/")[0]: None for name in files}
    }


def write_source(folder, kind, files):
    """The training set in one of its forms; returns what --train takes."""
    folder.mkdir(exist_ok=True)
    if kind == "tar of tars":
        path = folder / "ILSVRC2012_img_train.tar"
        path.write_bytes(tar_bytes(synset_tars(files).items()))
        return path
    if kind == "folder of tars":
        return write_tree(folder / "tars", synset_tars(files))
    if kind == "class tar":
        (folder / "classes.tar").write_bytes(tar_bytes(files.items()))
        return folder / "classes.tar"
    return write_tree(folder / "classes", files)


def write_devkit(folder, truth, ids=None):
    """The devkit's folder, in its own layout, with a synset that has children, too."""
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss")]
    kind += [(name, object) for name in ("num_children", "children")]
    kind += [(name, object) for name in ("wordnet_height", "num_train_images")]
    rows = [
        (float(number), wnid, f"words of {wnid}", "gloss", 0.0, [], 0.0, 3.0)
        for wnid, number in (ids or IDS).items()
    ]
    rows.append((9.0, "n00001740", "entity", "gloss", 2.0, [1.0, 2.0], 2.0, 0.0))
    synsets = np.array(rows, dtype=kind).reshape(-1, 1)
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": synsets})
    text = "".join(f"{number}\n" for number in truth)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(text)
    return data.parent


@pytest.fixture
def create(monkeypatch, capsys, tmp_path):
    """Runs the script here; returns its stdout, or where it fails its one sentence."""

    def run(*arguments, expect=0, jobs=1):
        jobs = ["--jobs", str(jobs)]
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
        words = [str(SCRIPT), *map(str, arguments), *out, *jobs]
        monkeypatch.setattr(sys, "argv", words)
        old = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                program.run(create_ilsvrc12.main)
        finally:
            signal.signal(signal.SIGTERM, old)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr + stdout
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run


@contextmanager
def opened(path, write=False):
    """A transaction of the LMDB `path`."""
    options = {"readonly": not write, "lock": False, "map_size": 1 << 24}
    with (
        lmdb.open(str(path), **options) as environment,
        environment.begin(write=write) as transaction,
    ):
        yield transaction


def read_back(path):
    """[(JPEG, label)] in the database's order, which must be a whole one."""
    records = []
    with opened(path) as transaction:
        for number, (key, value) in enumerate(transaction.cursor()):
            assert key == b"%08d" % number
            datum = caffe_pb2.Datum.FromString(value)
            fields = {field.name for field, _ in datum.ListFields()}
            # A label of 0 is set and written, too.
            assert fields == {"data", "label", "encoded"} and datum.encoded
            records.append((datum.data, datum.label))
    assert sorted(each.name for each in path.iterdir()) == ["data.mdb", "info.json"]
    return records


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def skipped(out, split="train"):
    lines = (out / f"{split}_skipped.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


FORMS = ("tar of tars", "folder of tars", "class tar", "class folders")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_training_set_gives_the_same(create, tmp_path, form):
    files = training_set()
    source = write_source(tmp_path / "source", form, files)
    said = create("--train", source, "--max-side", MAX_SIDE)
    assert f"{len(files)} images" in said and "4 classes" in said

    names = sorted(files)
    order = [names[place] for place in shuffled_order(len(names), 0)]
    records = read_back(tmp_path / "out" / "train_lmdb")
    assert [label for _, label in records] == [label_of(name) for name in order]
    for (content, _), name in zip(records, order, strict=True):
        original = photograph_size(files[name])
        if min(original) <= MAX_SIDE:
            assert content == files[name]
        else:
            assert min(photograph_size(content)) == MAX_SIDE
    info = json.loads((tmp_path / "out/train_lmdb/info.json").read_text())
    assert info["classes"] == list(WNIDS)
    assert info["images_per_label"] == [3] * 4
    assert not (tmp_path / "out" / "train_skipped.txt").exists()
    assert sorted(os.listdir(tmp_path / "out")) == ["train_lmdb"]


def photograph_size(content):
    with Image.open(io.BytesIO(content)) as picture:
        return picture.size


@pytest.mark.parametrize("size", [(200, 150), (97, 310), (130, 130), (1000, 750)])
def test_shrinks_to_the_shorter_edge_as_a_slow_resize_does(size):
    content = image(1, size)
    jpeg = jpegs.stored(content, "a.jpg", MAX_SIDE, 95)
    scale = MAX_SIDE / min(size)
    expected = tuple(round(length * scale) for length in size)
    assert jpeg.changes == (jpegs.SHRUNK,)
    assert photograph_size(jpeg.content) == expected
    with Image.open(io.BytesIO(content)) as picture:
        slow = np.asarray(picture.resize(expected, Image.Resampling.LANCZOS))
    assert np.abs(pixels(jpeg.content) - slow).mean() < 5
    mean = pixels(jpeg.content).mean(axis=(0, 1))[::-1]
    np.testing.assert_allclose(jpeg.mean, mean, atol=0.5)


def test_validation_images_take_their_labels_from_the_devkit(create, tmp_path):
    truth = [IDS[wnid] for wnid in (WNIDS * 2)]
    devkit = write_devkit(tmp_path, truth)
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 9)]
    files = {name: image(number) for number, name in enumerate(names)}
    tar = tmp_path / "ILSVRC2012_img_val.tar"
    tar.write_bytes(tar_bytes(files.items()))
    kit = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(kit, "w:gz") as archive:
        archive.add(devkit, devkit.name)
    folder = write_tree(tmp_path / "val", files)

    expected = {(files[name], place % 4) for place, name in enumerate(names)}
    for place, (source, devkit_form) in enumerate(
        [(tar, kit), (folder, devkit), (folder, devkit / "data" / "..")]
    ):
        out = tmp_path / f"out{place}"
        create("--val", source, "--devkit", devkit_form, "--out", out)
        records = read_back(out / "val_lmdb")
        assert set(records) == expected and len(records) == 8
    assert "--devkit" in create("--val", tar, expect=2)


def test_list_file_with_spaces_and_root(create, tmp_path):
    files = {"a b/one two.jpg": image(1), "c.jpeg": image(2), "d.png": image(3)}
    files["d.png"] = encoded(photograph(3), "PNG")
    write_tree(tmp_path / "images", files)
    listed = tmp_path / "list.txt"
    listed.write_text("a b/one two.jpg 7\n\nc.jpeg 0\nd.png 65535\nnone.jpg 1\n")
    create("--train", listed, "--root", tmp_path / "images")
    records = read_back(tmp_path / "out" / "train_lmdb")
    assert {label for _, label in records} == {0, 7, 65535}
    assert (files["a b/one two.jpg"], 7) in records
    assert list(skipped(tmp_path / "out")) == ["none.jpg"]
    shutil.rmtree(tmp_path / "out")
    shutil.copy(listed, tmp_path / "images")
    create("--train", tmp_path / "images" / "list.txt")  # its own folder
    assert sorted(read_back(tmp_path / "out" / "train_lmdb")) == sorted(records)


def test_values_are_those_of_convert_imageset(create, tmp_path):
    files = training_set()
    folder = write_tree(tmp_path / "images", files)
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{name} {label_of(name)}\n" for name in files))
    subprocess.run(
        [CONVERT, "--encoded", f"{folder}/", listed, tmp_path / "caffes"], check=True
    )
    create("--train", listed, "--root", folder, "--max-side", 0)
    values = []
    for path in (tmp_path / "caffes", tmp_path / "out" / "train_lmdb"):
        with opened(path) as transaction:
            values.append(sorted(value for _, value in transaction.cursor()))
    assert values[0] == values[1]


def test_caffe_reads_it(create, tmp_path):
    files = training_set()
    files[f"{WNIDS[0]}/grey.JPEG"] = encoded(photograph(5, (80, 60), "L"))
    source = write_source(tmp_path / "source", "tar of tars", files)
    create("--train", source, "--max-side", MAX_SIDE)
    database = tmp_path / "out" / "train_lmdb"
    records = read_back(database)
    network = tmp_path / "net.prototxt"
    network.write_text(
        f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
        data_param {{ source: "{database}" backend: LMDB batch_size: 1 }}
        transform_param {{ force_color: true }} }}"""
    )
    net = caffe.Net(str(network), caffe.TEST)
    for content, label in records:
        blobs = net.forward()
        assert blobs["label"] == label
        shown = blobs["data"][0].transpose(1, 2, 0)[..., ::-1]
        assert shown.shape == pixels(content).shape
        # Decoders of different versions round differently.
        assert np.abs(shown - pixels(content)).mean() < 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(80, 60), (200, 150)])
def test_orientation_is_the_same_to_all_readers(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = image(2, size, exif=exif.tobytes())
    jpeg = jpegs.stored(content, "a.JPG", MAX_SIDE, 95)
    assert (jpegs.TURNED in jpeg.changes) == (orientation != 1)
    plain = jpegs.stored(image(2, size), "a.JPG", MAX_SIDE, 95)
    np.testing.assert_array_equal(pixels(jpeg.content), pixels(plain.content))
    if orientation == 1 and size == (80, 60):
        assert jpeg.content == content
    datum = caffe_pb2.Datum(data=jpeg.content, label=0, encoded=True)
    with opened(tmp_path, write=True) as transaction:
        transaction.put(b"00000000", datum.SerializeToString())
    network = tmp_path / "net.prototxt"
    network.write_text(
        f"""layer {{ name: "data" type: "Data" top: "data"
        data_param {{ source: "{tmp_path}" backend: LMDB batch_size: 1 }}
        transform_param {{ force_color: true }} }}"""
    )
    net = caffe.Net(str(network), caffe.TEST)
    shown = net.forward()["data"][0][::-1].transpose(1, 2, 0)
    assert shown.shape == pixels(plain.content).shape
    assert np.abs(shown - pixels(plain.content)).mean() < 1


def test_a_segment_after_fill_bytes_is_found(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = image(2, exif=exif.tobytes())
    place = content.index(b"\xff\xe1")
    filled = content[:place] + b"\xff\xff" + content[place:]
    assert b"Exif" not in jpegs.stored(filled, "a.jpg", 0, 95).content


@pytest.mark.parametrize("stray", [b"\0", b"\0\0", b"stray"])
def test_an_orientation_behind_stray_bytes_is_gone(stray):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = image(2, exif=exif.tobytes())
    place = content.index(b"\xff\xe1")
    hidden = content[:place] + stray + content[place:]
    jpeg = jpegs.stored(hidden, "a.jpg", 0, 95)
    assert jpeg.changes == (jpegs.TURNED,)
    assert jpegs.mean_of(jpeg.content)[0] == (80, 60)  # it refuses what is turned


def ycck():
    """A JPEG as Photoshop writes it: YCCK, by its Adobe segment's transform."""
    content = encoded(photograph(1, mode="CMYK"))
    place = content.index(b"Adobe") + 11
    return content[:place] + b"\x02" + content[place + 1 :]


def animated(kind):
    file = io.BytesIO()
    frames = [photograph(number) for number in range(3)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


def deep_colour():
    """A PNG of three channels of 16 bits."""
    pixels = np.random.default_rng(0).integers(2**16, size=(60, 80, 3), dtype=np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


def bad_files():
    """{name: (content, words of the reason)}"""
    good = image(1, (200, 150))
    return {
        "zero.JPEG": (b"", "empty"),
        "noise.JPEG": (b"not an image at all" * 50, "no image of any known format"),
        "header.JPEG": (good[:100], "cannot be decoded"),
        "half.JPEG": (good[: len(good) // 2], "truncated"),
        "progressive.JPEG": (
            encoded(photograph(1, (200, 150)), progressive=True)[:-900],
            "truncated",
        ),
        "cmyk.JPEG": (encoded(photograph(1, mode="CMYK")), "CMYK"),
        "ycck.JPEG": (ycck(), "CMYK"),
        "png.JPEG": (encoded(photograph(1), "PNG"), "is a PNG, named .JPEG"),
        "jpeg.png": (good, "is a JPEG, named .png"),
        "gif.JPEG": (animated("GIF"), "is a GIF"),
        "animated.png": (animated("PNG"), "animated"),
        "half.png": (encoded(photograph(1), "PNG")[:3000], "cannot be decoded"),
        "deep.png": (
            encoded(Image.fromarray(np.zeros((70, 70), np.uint16)), "PNG"),
            "16 bits a channel",
        ),
        "deep_colour.png": (deep_colour(), "16 bits a channel"),
        "wide.png": (
            encoded(photograph(1, (66_000, 2)), "PNG"),
            "too large for a JPEG (66000 × 2 pixels)",
        ),
        "notes.txt": (b"hello", "no image by its name"),
    }


@pytest.mark.parametrize("form", FORMS)
def test_unfit_files_are_skipped_and_listed(create, tmp_path, form):
    files, bad = training_set(), bad_files()
    wnid = WNIDS[2]
    contents = {f"{wnid}/{name}": content for name, (content, _) in bad.items()}
    grey = {f"{wnid}/grey.JPEG": encoded(photograph(6, mode="L"))}
    png = {f"{wnid}/fine.png": encoded(photograph(7, mode="RGBA"), "PNG")}
    source = write_source(tmp_path / "s", form, files | contents | grey | png)
    said = create("--train", source, "--max-side", MAX_SIDE, jobs=2)
    assert f"{len(bad)} files skipped" in said and "train_skipped.txt" in said
    assert "1 grey made colour" in said and "1 PNG made JPEG" in said

    listed = skipped(tmp_path / "out")
    assert set(listed) == set(contents)
    for name, (_, words) in bad.items():
        assert words in listed[f"{wnid}/{name}"], name
    records = read_back(tmp_path / "out" / "train_lmdb")
    assert len(records) == len(files) + 2
    for content, _ in records:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "JPEG" and picture.mode == "RGB"
    create("--check")

    error = create("--train", source, "--out", tmp_path / "o2", "--strict", expect=2)
    assert "--strict" in error
    assert [each.name for each in (tmp_path / "o2").iterdir()] in (
        [],
        ["train_lmdb.partial"],
    )
    assert "lacks" in create(
        "--train", source, "--max-side", MAX_SIDE, "--strict", expect=2
    )


def test_strict_ends_at_a_file_that_cannot_be_decoded(create, tmp_path):
    files = training_set()
    bad = f"{WNIDS[1]}/half.JPEG"
    source = write_source(
        tmp_path / "s", "class folders", files | {bad: image(1)[:-500]}
    )
    error = create("--train", source, "--strict", expect=2)
    assert bad in error and "truncated" in error
    assert os.listdir(tmp_path / "out") == ["train_lmdb.partial"]
    create("--train", source)  # goes on, and skips it
    assert list(skipped(tmp_path / "out")) == [bad]
    assert len(read_back(tmp_path / "out" / "train_lmdb")) == len(files)


def test_names_that_an_archive_should_not_have(create, tmp_path):
    good = image(1)
    link = tarfile.TarInfo("n01440764/link.JPEG")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    pipe = tarfile.TarInfo("n01440764/pipe.JPEG")
    pipe.type = tarfile.FIFOTYPE
    tar = tmp_path / "classes.tar"
    tar.write_bytes(
        tar_bytes(
            [
                ("./n01440764/a.JPEG", good),
                ("n01440764/a.JPEG", image(2)),
                ("n01440764/../../b.JPEG", good),
                ("/n01440764/c.JPEG", good),
                ("link", link),
                ("pipe", pipe),
                ("alone.JPEG", good),
                ("n01440764/" + "long" * 40 + ".JPEG", image(3)),
                ("n01440764/ünï\udcff\n.JPEG", image(4)),
                ("n01440764/\udcff\n.JPEG", b""),
            ]
        )
    )
    create("--train", tar)
    listed = skipped(tmp_path / "out")
    assert listed == {
        "n01440764/a.JPEG": "is a duplicate name",
        "n01440764/../../b.JPEG": "its path leaves the archive",
        "/n01440764/c.JPEG": "its path leaves the archive",
        "n01440764/link.JPEG": "is a link in the archive",
        "n01440764/pipe.JPEG": "is no plain file in the archive",
        "alone.JPEG": "is in no class's folder",
        "n01440764/\\udcff\\n.JPEG": "is empty (zero bytes)",
    }
    stored = {content for content, _ in read_back(tmp_path / "out" / "train_lmdb")}
    assert stored == {good, image(3), image(4)}


def test_a_file_beside_the_tars_of_classes_is_listed(create, tmp_path):
    source = write_source(tmp_path / "s", "folder of tars", training_set())
    (source / "n01443538.tar.part").write_bytes(b"half a class")
    create("--train", source)
    assert skipped(tmp_path / "out") == {"n01443538.tar.part": "is no tar of a class"}


def test_a_tar_of_before_posix(create, tmp_path):
    info = tarfile.TarInfo("n01440764/a.JPEG")
    info.size = len(content := image(1))
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[257:265] = bytes(8)  # "ustar" and its version
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    tar = tmp_path / "old.tar"
    tar.write_bytes(bytes(header) + content + bytes(-len(content) % 512 + 1024))
    create("--train", tar)
    assert read_back(tmp_path / "out" / "train_lmdb") == [(content, 0)]


@pytest.mark.parametrize(
    "records", [b"22 GNU.sparse.size=1x\n", b"29 size=99999999999999999999\n"]
)
def test_numbers_that_are_none_in_an_archive(create, tmp_path, records):
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, len(records)
    content = image(1)
    member = tar_bytes([("n01440764/a.JPEG", content)])
    tar = tmp_path / "classes.tar"
    first = pax.tobuf() + records + bytes(-len(records) % 512)
    tar.write_bytes(first + member)
    error = create("--train", tar, expect=2)
    assert "damaged" in error and "fetch it again" in error


def test_files_that_cannot_be_read(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    (source / WNIDS[0] / "dangling.JPEG").symlink_to("nowhere")
    os.mkfifo(source / WNIDS[0] / "pipe.JPEG")
    (source / ".hidden").mkdir()
    (source / ".hidden" / "a.JPEG").write_bytes(image(1))
    with (source / WNIDS[0] / "huge.JPEG").open("wb") as file:
        file.truncate(2**40)
    with open(os.fsencode(source / WNIDS[0]) + b"/caf\xe9\n.txt", "wb"):
        pass
    create("--train", source)
    listed = skipped(tmp_path / "out")
    names = ("dangling.JPEG", "pipe.JPEG", "huge.JPEG", "caf\\udce9\\n.txt")
    assert set(listed) == {f"{WNIDS[0]}/{name}" for name in names}
    assert "is too large (1,099,511,627,776 bytes" in listed[f"{WNIDS[0]}/huge.JPEG"]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.98])
@pytest.mark.parametrize("form", ["tar of tars", "class tar"])
def test_truncated_archives_are_refused(create, tmp_path, form, keep):
    source = write_source(tmp_path / "s", form, training_set())
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content.rstrip(b"\0")) * keep)])
    error = create("--train", source, expect=2)
    assert "fetch it again" in error and str(source) in error
    assert not (tmp_path / "out" / "train_lmdb").exists()


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


SMALL_COMMITS = 60_000

# The script as it is, but for commits that a small set has several of.
RUN = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
import shutil
from swwae.datasets import encoded_lmdb
encoded_lmdb.COMMIT_BYTES = {SMALL_COMMITS}
{{more}}
sys.argv = [{str(SCRIPT)!r}, *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(*arguments, more="", **options):
    """The script in a process of its own, with small commits."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(more=textwrap.dedent(more)), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def committed(out):
    state = encoded_state.partial_state(out / "train_lmdb")
    return state.done if state else 0


def wait_until_dead(process):
    """Its children, too: they hold its output open."""
    process.communicate(timeout=20)


# Each image takes a while, so that there is time to end it in the middle.
SLOWLY = """
import time
from swwae.datasets import jpegs
def slowly(*arguments, stored=jpegs.stored):
    time.sleep(0.01)
    return stored(*arguments)
jpegs.stored = slowly
"""


@pytest.fixture(scope="module")
def set_of_many(tmp_path_factory):
    """A tar of tars with some bad files, and the records that it should give."""
    folder = tmp_path_factory.mktemp("many")
    files = training_set(40)
    wnid = WNIDS[3]
    bad = {name: content for name, (content, _) in bad_files().items()}
    source = write_source(
        folder, "tar of tars", files | {f"{wnid}/{k}": v for k, v in bad.items()}
    )
    arguments = ["--train", str(source), "--max-side", str(MAX_SIDE)]
    process = start(*arguments, "--jobs", "1", "--out", str(folder / "out"))
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return arguments, outcome(folder / "out")


def outcome(out):
    """All that must not depend on how the database came about."""
    info = json.loads((out / "train_lmdb" / "info.json").read_text())
    del info["bytes"]  # LMDB's pages may lie otherwise
    digest = hashlib.sha256(repr(read_back(out / "train_lmdb")).encode()).hexdigest()
    return digest, info, (out / "train_skipped.txt").read_text()


def test_content_does_not_depend_on_jobs(set_of_many, tmp_path):
    arguments, expected = set_of_many
    process = start(*arguments, "--jobs", "3", "--out", str(tmp_path))
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_goes_on_after_any_end(set_of_many, tmp_path, how):
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "2", "--out", str(tmp_path)]
    done = 0
    for _ in range(2):
        process = start(*arguments, more=SLOWLY)
        while committed(tmp_path) <= done + 20:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=20)
        assert process.returncode == (-9 if how == signal.SIGKILL else 130)
        if how != signal.SIGKILL:
            assert "run the same command to go on" in stdout
            assert "interrupted" in stderr and "Traceback" not in stderr
        assert os.listdir(tmp_path) == ["train_lmdb.partial"]
        assert committed(tmp_path) > done
        done = committed(tmp_path)
    process = start(*arguments)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "goes on" in stdout
    assert "Looking through" not in stdout  # the tar's index is kept
    assert outcome(tmp_path) == expected
    assert sorted(os.listdir(tmp_path)) == ["train_lmdb", "train_skipped.txt"]


@pytest.mark.parametrize("call", range(4))
def test_goes_on_after_a_kill_at_the_end(set_of_many, tmp_path, call):
    """Killed at each step between the last record and the final name."""
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "1", "--out", str(tmp_path)]
    kill = f"""
    import os, signal
    from swwae.datasets import database_folders
    steps = []
    def killing(function):
        def call(*a, **k):
            steps.append(1)
            if len(steps) > {call}:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*a, **k)
        return call
    encoded_lmdb.whole_file = killing(encoded_lmdb.whole_file)
    encoded_lmdb.write_json = killing(encoded_lmdb.write_json)
    database_folders.put_in_place = killing(database_folders.put_in_place)
    """
    process = start(*arguments, more=kill)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "train_lmdb").exists()
    process = start(*arguments)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


def test_another_command_does_not_go_on(set_of_many, create, tmp_path):
    arguments, expected = set_of_many
    out = tmp_path / "out"
    process = start(*arguments, "--jobs", "1", "--out", str(out), more=SLOWLY)
    while not committed(out):
        time.sleep(0.02)
    error = create(*arguments, expect=2)
    assert "another run is writing" in error
    process.kill()
    wait_until_dead(process)
    done = committed(out)
    error = create(*arguments[:2], "--max-side", 32, expect=2)
    assert "max-side 64, asked for is 32: --force" in error
    assert committed(out) == done
    error = create(*arguments, "--strict", expect=2)
    assert "--strict" in error and committed(out) >= done
    create(*arguments[:2], "--max-side", 32, "--force")
    widths = {
        photograph_size(content)[0] for content, _ in read_back(out / "train_lmdb")
    }
    assert min(widths) == 32
    create(*arguments, "--force", jobs=2)
    assert outcome(out) == expected


def test_a_source_changed_meanwhile_is_told(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    process = start(
        "--train",
        str(source),
        "--out",
        str(tmp_path / "out"),
        more=f"""
        import pathlib
        from swwae.datasets import image_sources
        find = image_sources.Source.find
        def vanish(*a):
            found = find(*a)
            pathlib.Path({str(source / WNIDS[0] / (WNIDS[0] + "_0.JPEG"))!r}).unlink()
            return found
        image_sources.Source.find = vanish
        """,
    )
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert "changed or removed while it was read" in stderr
    assert not (tmp_path / "out" / "train_lmdb").exists()


def test_a_tar_that_was_moved_meanwhile_goes_on(set_of_many, tmp_path):
    arguments, expected = set_of_many
    out = ["--jobs", "1", "--out", str(tmp_path / "out")]
    (tmp_path / "first").mkdir()
    first = shutil.copy2(arguments[1], tmp_path / "first")
    process = start("--train", first, *arguments[2:], *out, more=SLOWLY)
    while not committed(tmp_path / "out"):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    wait_until_dead(process)
    (tmp_path / "first").rename(tmp_path / "second")
    moved = str(tmp_path / "second" / Path(first).name)
    process = start("--train", moved, *arguments[2:], *out)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "goes on" in stdout and "Looking through" not in stdout
    assert outcome(tmp_path / "out") == expected


def test_processes_that_cannot_be_started_are_told(set_of_many, tmp_path):
    arguments, _ = set_of_many
    more = """
    import os
    fork, forks = os.fork, []
    def second_fails():
        forks.append(1)
        if len(forks) > 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()
    os.fork = second_fails
    """
    process = start(*arguments, "--jobs", "2", "--out", str(tmp_path), more=more)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 2 and stderr.count("\n") == 1
    assert "Resource temporarily unavailable" in stderr and "fewer --jobs" in stderr


def test_a_full_disk_ends_cleanly_and_goes_on(set_of_many, tmp_path):
    arguments, expected = set_of_many
    arguments = [*arguments, "--jobs", "1", "--out", str(tmp_path)]
    limit = 400_000

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    process = start(*arguments, preexec_fn=small_files)
    _, stderr = process.communicate()
    assert process.returncode == 2 and "Traceback" not in stderr
    assert "more are needed" in stderr and "same command" in stderr
    assert os.listdir(tmp_path) == ["train_lmdb.partial"]
    assert 0 < committed(tmp_path) < 160
    process = start(*arguments)
    stdout, stderr = process.communicate()
    assert process.returncode == 0 and "goes on" in stdout, stderr
    assert outcome(tmp_path) == expected


def test_the_map_grows(set_of_many, tmp_path):
    arguments, expected = set_of_many
    more = """
    from swwae.datasets import encoded_state
    encoded_state.SMALLEST_MAP = 1 << 17
    encoded_lmdb.estimated_bytes = lambda *a: 0
    """
    process = start(*arguments, "--out", str(tmp_path), more=more)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == expected


def test_too_small_a_disk_is_foreseen(create, monkeypatch, tmp_path):
    source = write_source(tmp_path / "s", "tar of tars", training_set())
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    error = create("--train", source, expect=2)
    assert "make room" in error and "1 MB free" in error
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda datum: datum.ClearField("encoded"), "not marked as encoded"),
        (lambda datum: setattr(datum, "label", datum.label ^ 1), "images_per_label"),
        (lambda datum: setattr(datum, "data", datum.data[:-400]), "truncated"),
        (lambda datum: setattr(datum, "data", image(99)), "records_sha256"),
        (lambda datum: setattr(datum, "data", image(99, (150, 99))), "150 × 99"),
        (
            lambda datum: setattr(datum, "data", encoded(photograph(1, mode="L"))),
            "no colour JPEG",
        ),
    ],
)
def test_check_names_what_is_wrong(create, tmp_path, damage, words):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source, "--max-side", MAX_SIDE)
    database = tmp_path / "out" / "train_lmdb"
    assert "Every record was decoded" in create("--check", jobs=2)
    with opened(database, write=True) as transaction:
        datum = caffe_pb2.Datum.FromString(transaction.get(b"00000004"))
        damage(datum)
        transaction.put(b"00000004", datum.SerializeToString())
    info = json.loads((database / "info.json").read_text())
    info["bytes"] = (database / "data.mdb").stat().st_size
    (database / "info.json").write_text(json.dumps(info))
    error = create("--check", expect=2)
    assert words in error and str(database) in error


def test_check_misses_no_record_and_no_byte(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source)
    database = tmp_path / "out" / "train_lmdb"
    with opened(database, write=True) as transaction:
        transaction.delete(b"00000004")
    info = json.loads((database / "info.json").read_text())
    info["bytes"] = (database / "data.mdb").stat().st_size
    (database / "info.json").write_text(json.dumps(info))
    assert "11 records, info.json says 12" in create("--check", expect=2)
    with (database / "data.mdb").open("r+b") as file:
        file.truncate(8192)
    assert "expected" in create("--check", expect=2)


def test_mean_is_that_of_the_images(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    said = create("--train", source, "--max-side", MAX_SIDE)
    records = read_back(tmp_path / "out" / "train_lmdb")
    means = [pixels(content).mean(axis=(0, 1))[::-1] for content, _ in records]
    info = json.loads((tmp_path / "out/train_lmdb/info.json").read_text())
    np.testing.assert_allclose(info["mean"], np.mean(means, axis=0), atol=0.3)
    assert f"B {info['mean'][0]:.3f}" in said
    info["mean"][2] += 2
    (tmp_path / "out/train_lmdb/info.json").write_text(json.dumps(info))
    assert "mean is" in create("--check", expect=2)


def test_check_takes_what_the_worst_quality_makes(create, tmp_path):
    source = write_source(tmp_path / "s", "class folders", training_set())
    create("--train", source, "--max-side", 40, "--quality", 1)
    assert "Every record was decoded" in create("--check")


# An index as large as ILSVRC's, every image of which is the same one in a tar.
LARGE = """
import os, sys, threading, time
sys.path.insert(0, {root!r})
from pathlib import Path
from swwae.datasets import encoded_lmdb
from swwae.datasets.encoded_records import Form
from swwae.datasets.found_images import FoundImages
from swwae.datasets.image_index import IndexBuilder

def proportional(process):
    text = Path(f"/proc/{{process}}/smaps_rollup").read_text()
    lines = [line.split() for line in text.splitlines()[1:]]
    return sum(int(line[1]) for line in lines if line[0] == "Pss:")

builder = IndexBuilder(Path("/"))
archive = builder.add_archive(Path({image!r}))
for number in range(1_281_167):
    name = f"n{{number % 1000:08d}}/n{{number % 1000:08d}}_{{number}}.JPEG"
    builder.add(name, number % 1000, {size}, archive)
found = FoundImages(builder.index().in_order_of_names(), ("class",) * 1000, ())
del builder
form = Form(64, 95, 0)
began = time.monotonic()

def progress(done):
    if done > 300:
        children = Path("/proc/self/task/%d/children" % os.getpid()).read_text()
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        together = sum(map(proportional, ["self", *children.split()]))
        print(len(children.split()), peak, together, flush=True)
        os._exit(0)

out = Path({out!r})
encoded_lmdb.write(
    out,
    found,
    form,
    made_from={{}},
    jobs=4,
    strict=False,
    report=out / "report",
    progress=progress,
)
"""


def test_memory_is_bounded_at_the_size_of_ilsvrc(tmp_path):
    (tmp_path / "image.tar").write_bytes(image(1, (500, 375)))
    program = LARGE.format(
        root=str(ROOT),
        image=str(tmp_path / "image.tar"),
        size=(tmp_path / "image.tar").stat().st_size,
        out=str(tmp_path / "out"),
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    processes, peak, together = map(int, done.stdout.split())
    assert processes == 4
    assert peak < 700_000 and together < 700_000  # kB
