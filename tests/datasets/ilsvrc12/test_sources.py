"""The forms that ILSVRC comes in give the same database, and damaged ones are told."""

import json
import os
import shutil
import tarfile

import pytest

from swwae.datasets.labelled_images import shuffled_order
from tests.helpers.ilsvrc12 import (
    FORMS,
    IDS,
    MAX_SIDE,
    WNIDS,
    encoded,
    image,
    label_of,
    photograph,
    photograph_size,
    read_back,
    skipped,
    tar_bytes,
    training_set,
    write_devkit,
    write_source,
    write_tree,
)


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


@pytest.mark.parametrize("form", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(
    "listed", ["a b/1.jpg 3\n", "/a b/1.jpg 3\r\n", "a b\\1.jpg 3"]
)
def test_a_list_as_editors_and_other_systems_leave_it(listed, form, create, tmp_path):
    images = write_tree(tmp_path / "images", {"a b/1.jpg": image(1)})
    (tmp_path / "list.txt").write_bytes(listed.encode(form))
    create("--train", tmp_path / "list.txt", "--root", images)
    assert read_back(tmp_path / "out" / "train_lmdb") == [(image(1), 3)]
    assert not (tmp_path / "out" / "train_skipped.txt").exists()


def test_an_image_is_one_with_and_without_a_slash(create, tmp_path):
    images = write_tree(tmp_path / "images", {"1.jpg": image(1)})
    (tmp_path / "list.txt").write_text("/1.jpg 3\n1.jpg 3\n")
    create("--train", tmp_path / "list.txt", "--root", images)
    assert skipped(tmp_path / "out") == {"1.jpg": "is a duplicate name"}
