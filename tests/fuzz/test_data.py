"""Data that are not what was written: IDX, tars, LMDBs, Datums, pictures, lists."""

import gzip
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, note

from generator import picture_headers, source, text_files
from generator.datums import NoImage, scanned
from generator.errors import UserError
from generator.layers import Layer
from generator.lmdb_pages import check_pages
from generator.survey import survey
from swwae.datasets import datum_lmdb as ours
from swwae.datasets import idx, ilsvrc_devkit, tars
from swwae.images.database import Database
from swwae.images.pictures import UNREADABLE, decoded, read_image
from swwae.images.preprocessing import Preprocessing
from tests.helpers import datum_lmdb, ilsvrc12
from tests.helpers.fuzzing import SEEDS, counted, damaged, examples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def attempt(read: Callable[[], object], *also: type[Exception]) -> None:
    try:
        read()
    except (UserError, *also) as error:
        assert str(error).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# --- IDX


def idx_file(*shape: int) -> bytes:
    head = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    return head + bytes(range(int(np.prod(shape))))


IMAGES, LABELS = idx_file(3, 4, 5), idx_file(3)
IDX = [
    IMAGES,
    LABELS,
    idx_file(2, 3, 4, 5),
    gzip.compress(IMAGES),
    gzip.compress(LABELS),
]


@examples(100)
@given(SEEDS)
def test_idx(folder, seed):
    images, labels = folder / "images", folder / "labels"
    images.write_bytes(damaged(IDX, seed) if seed % 3 else IMAGES)
    labels.write_bytes(damaged(IDX, seed + 1))
    with counted("IDX"):
        attempt(lambda: idx.read_pair(images, labels))
        attempt(lambda: idx.read(images))


# --- tars


def tar() -> bytes:
    inner = ilsvrc12.tar_bytes([("n01440764_1.JPEG", b"x" * 700), ("dir/b", b"y")])
    return ilsvrc12.tar_bytes(
        [("n01440764.tar", inner), ("long/" + "n" * 120, b"z"), ("é.JPEG", b"")]
    )


TAR = tar()


@examples(60)
@given(SEEDS)
def test_tars(folder, seed):
    path = folder / "x.tar"
    path.write_bytes(damaged([TAR], seed))

    def read() -> None:
        size = path.stat().st_size
        for member in tars.members(path) if tars.is_tar(path) else ():
            assert member.fault or 0 <= member.offset <= size - member.size
            if not member.fault:
                attempt(
                    lambda m=member: list(tars.members(path, m.offset, m.size, "x"))
                )

    with counted("tars"):
        attempt(read)


@pytest.fixture(scope="module")
def devkit(folder: Path) -> list[bytes]:
    made = ilsvrc12.write_devkit(folder, [1, 2, 3, 4])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(made, made.name)
    plain = gzip.decompress(packed.getvalue())
    return [packed.getvalue(), plain, plain]


@examples(10)
@given(seed=SEEDS)
def test_the_devkit(folder, devkit, seed):
    path = folder / "devkit.tar.gz"
    path.write_bytes(damaged(devkit, seed))
    with counted("ILSVRC's devkit"):
        attempt(lambda: ilsvrc_devkit.read(path))


# --- LMDBs and Datums


def pictures() -> list[bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 10, 3), np.uint8)
    kinds = [(".png", pixels), (".jpg", pixels), (".bmp", pixels), (".tiff", pixels)]
    kinds += [(".png", pixels[..., 0]), (".png", pixels[..., 0].astype(np.uint16))]
    return [cv2.imencode(suffix, values)[1].tobytes() for suffix, values in kinds]


PICTURES = pictures()
DATUMS = [
    datum_lmdb.image(3, 4).SerializeToString(),
    datum_lmdb.floats(1, np.ones((1, 4, 4))).SerializeToString(),
    *(
        datum_lmdb.image(7, data=content, encoded=True).SerializeToString()
        for content in PICTURES
    ),
]


def database(path: Path) -> Database:
    return Database(path, Preprocessing((1, 4, 4), (0.0,)))


@examples(100)
@given(SEEDS)
def test_datums(folder, seed):
    content = damaged(DATUMS, seed)
    note(content)
    with counted("Datums"):
        attempt(
            lambda: scanned(len(content), lambda at, size: content[at : at + size]),
            NoImage,
        )
        attempt(lambda: database(folder / "x_lmdb")._decode(b"\xff", content))


@pytest.fixture(scope="module")
def lmdbs(folder: Path) -> list[bytes]:
    large = [datum_lmdb.image(number % 10, 80) for number in range(40)]
    small = [datum_lmdb.image(number % 3) for number in range(200)]
    made = (DATUMS, large, small, DATUMS[:1])
    return [
        (datum_lmdb.write(folder / f"made{n}_lmdb", records) / "data.mdb").read_bytes()
        for n, records in enumerate(made)
    ]


@examples(40)
@given(seed=SEEDS)
def test_lmdbs(folder, lmdbs, seed):
    path = folder / "damaged_lmdb"
    path.mkdir(exist_ok=True)
    whole = [content.rstrip(b"\0") for content in lmdbs]
    content = damaged(whole, seed)
    page = 4096
    (path / "data.mdb").write_bytes(content + bytes(-len(content) % page))

    def read() -> None:
        check_pages(path)  # LMDB itself ends the process otherwise
        for _ in database(path):
            pass

    with counted("LMDBs"):
        attempt(lambda: survey(path))
        attempt(read)
        attempt(lambda: database(path).first_size())
        fields = {"data_param": {"source": str(path), "backend": "LMDB"}}
        layer = Layer("d", "Data", (), ("data",), fields)
        source.image_shape(layer)
        source.count(layer)


@examples(30)
@given(SEEDS)
def test_databases_that_are_checked(folder, seed):
    """The records are what they are, each of them whole."""
    path = folder / "records_lmdb"
    shutil.rmtree(path, ignore_errors=True)
    datum_lmdb.write(path, [damaged(DATUMS, seed + n) for n in range(4)])
    size = (path / "data.mdb").stat().st_size
    (path / "info.json").write_text(f'{{"bytes": {size}, "images": 4}}')
    with counted("records of LMDBs"):
        attempt(lambda: ours.check(path))
        attempt(lambda: survey(path))
        attempt(lambda: list(database(path)))


# --- pictures and lists


@examples(100)
@given(SEEDS)
def test_pictures(folder, seed):
    content = damaged(PICTURES, seed)
    note(content)
    path = folder / "x.png"
    path.write_bytes(content)
    with counted("pictures"):
        attempt(lambda: read_image(path))
        for channels in (1, 3):
            attempt(
                lambda c=channels: decoded(content, c),
                *UNREADABLE,
            )
        picture_headers.read_header(
            len(content), lambda at, size: content[at : at + size]
        )


LIST = "a.png 3\nb c/ü.jpg 0\n\n../d.png -1\n".encode()


@examples(60)
@given(SEEDS)
def test_lists(folder, seed):
    path = folder / "list.txt"
    path.write_bytes(damaged([LIST, LIST.replace(b"\n", b"\r\n"), b"x" * 9000], seed))
    fields = {"image_data_param": {"source": str(path), "batch_size": 2}}
    layer = Layer("d", "ImageData", (), ("data",), fields)
    with counted("lists of files"):
        text_files.unfit_for_caffe(path)
        attempt(lambda: source.list_labels(layer))
        attempt(lambda: source.image_shape(layer))
        attempt(lambda: source.count(layer))
