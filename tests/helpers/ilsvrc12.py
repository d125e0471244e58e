"""ILSVRC's archives in miniature, and the databases made of them, read back."""

import io
import tarfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import lmdb
import numpy as np
import skimage
from caffe.proto import caffe_pb2
from PIL import Image
from scipy.io import savemat

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data" / "ilsvrc12" / "create.py"
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


def photograph_size(content):
    with Image.open(io.BytesIO(content)) as picture:
        return picture.size


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
