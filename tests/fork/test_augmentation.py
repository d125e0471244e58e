"""The data layers' augmentation, against an implementation of its own in numpy.

Photographs are scikit-image's. What the layers draw at random is known in two ways: by
search for the scale, place and mirror that make an output, and from the Mersenne
Twister that Caffe seeds (numpy has the same one).
"""

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image
from scipy import stats

from generator.__main__ import main as generate
from tests.helpers import loading
from tests.helpers.photographs import encoded as encoded_datum
from tests.helpers.photographs import photograph, write_lmdb

PHOTOGRAPHS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")
ENCODERS = {"jpeg": {"format": "JPEG", "quality": 92}, "png": {"format": "PNG"}}
MEAN = np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)
SEED = 1701
ONE_IN_A_MILLION = 1e-6

VGG = "shorter_edge: 256 shorter_edge_max: 512 crop_size: 224 mirror: true"
ALEXNET = "center_square: true shorter_edge: 256 crop_size: 227 mirror: true"
SINGLE_CROP = "shorter_edge: 256 crop_size: 224"
WHOLE_IMAGE = "shorter_edge: 256"


# --- photographs and databases


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **ENCODERS[kind])
    return buffer.getvalue()


def planes(picture: Image.Image) -> np.ndarray:
    """uint8 (C, h, w), BGR."""
    pixels = np.asarray(picture)
    return np.atleast_3d(pixels)[:, :, ::-1].transpose(2, 0, 1).copy()


def raw_datum(pixels: np.ndarray) -> caffe_pb2.Datum:
    channels, height, width = pixels.shape
    return caffe_pb2.Datum(
        data=pixels.tobytes(), channels=channels, height=height, width=width
    )


def photograph_datum(name: str, kind: str) -> caffe_pb2.Datum:
    if kind in ENCODERS:
        return encoded_datum(encoded(photograph(name), kind))
    picture = photograph(name)
    return raw_datum(planes(picture.convert("L") if kind == "raw grey" else picture))


@cache
def pixels_of(name: str, kind: str) -> np.ndarray:
    """What a decoder that is not Caffe's makes of a photograph, uint8 (C, h, w)."""
    picture = photograph(name)
    if kind in ENCODERS:
        picture = Image.open(io.BytesIO(encoded(picture, kind)))
    return planes(picture.convert("L") if kind == "raw grey" else picture)


@pytest.fixture(scope="module")
def databases(tmp_path_factory) -> dict[str, Path]:
    """The photographs as LMDBs of each kind, as files and as a list of these."""
    folder = tmp_path_factory.mktemp("photographs")
    made = {
        kind: write_lmdb(
            folder / kind, [photograph_datum(name, kind) for name in PHOTOGRAPHS]
        )
        for kind in (*ENCODERS, "raw", "raw grey")
    }
    lines = []
    for label, name in enumerate(PHOTOGRAPHS):
        file = folder / f"{label}.jpg"
        file.write_bytes(encoded(photograph(name), "jpeg"))
        lines.append(f"{file} {label}\n")
    made["list"] = folder / "list.txt"
    made["list"].write_text("".join(lines))
    return made


# --- Caffe's side


def data_layer(source: Path, transform: str, batch: int, phase: str = "") -> str:
    """A Data layer on a folder, an ImageData layer on a list of files."""
    rule = f"include {{ phase: {phase} }}" if phase else ""
    kind, field, backend = "Data", "data_param", "backend: LMDB"
    if source.is_file():
        kind, field, backend = "ImageData", "image_data_param", ""
    return (
        f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" {rule}'
        f" transform_param {{ {transform} }}"
        f' {field} {{ source: "{source}" {backend} batch_size: {batch} }} }}\n'
    )


def outputs(
    layer: str, batches: int = 1, phase: int = caffe.TRAIN, seed: int = SEED
) -> np.ndarray:
    """`data` of so many batches, (batches * batch_size, C, h, w)."""
    caffe.set_random_seed(seed)
    net = loading.build(text_format.Parse(layer, caffe_pb2.NetParameter()), phase)
    return np.concatenate([net.forward()["data"].copy() for _ in range(batches)])


IN_A_CHILD = """
import hashlib, sys
import caffe
caffe.set_random_seed(1701)
net = caffe.Net(sys.argv[1], int(sys.argv[2]))
digest = hashlib.sha256()
for _ in range(int(sys.argv[3])):
    digest.update(net.forward()["data"].tobytes())
print(digest.hexdigest())
"""


def in_child(
    folder: Path, layer: str, batches: int, phase: int = caffe.TRAIN, **environment: str
) -> subprocess.CompletedProcess:
    """Prints the hash of so many batches of `data`, drawn from SEED."""
    file = folder / "network.prototxt"
    file.write_text(layer)
    return subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, file, str(phase), str(batches)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


# --- the other side


def resampling(to: int, size: int, area: bool) -> np.ndarray:
    """(to, size): what each pixel of a line takes from the pixels of the original."""
    scale = size / to
    line = np.arange(size)
    if area:
        starts = np.arange(to)[:, np.newaxis] * scale
        overlap = np.minimum(line + 1, starts + scale) - np.maximum(line, starts)
        return np.maximum(overlap, 0) / scale
    places = np.clip((np.arange(to) + 0.5) * scale - 0.5, 0, size - 1)
    return np.maximum(1 - np.abs(places[:, np.newaxis] - line), 0)


def resize(pixels: np.ndarray, edge: int) -> np.ndarray:
    """float (C, h, w) whose shorter edge is `edge`."""
    _, height, width = pixels.shape
    shorter = min(height, width)
    to = [round(length * edge / shorter) for length in (height, width)]
    rows, columns = (
        resampling(new, old, area=shorter > 2 * edge)
        for new, old in zip(to, (height, width), strict=True)
    )
    return rows @ pixels.astype(np.float64) @ columns.T


@cache
def resized(name: str, kind: str, edge: int) -> np.ndarray:
    return resize(pixels_of(name, kind), edge)


def centre_square(pixels: np.ndarray) -> np.ndarray:
    _, height, width = pixels.shape
    side = min(height, width)
    row, column = (height - side) // 2, (width - side) // 2
    return pixels[:, row : row + side, column : column + side]


@dataclass(frozen=True)
class Drawn:
    """What of an image a network sees."""

    edge: int
    row: int
    column: int
    mirror: bool

    def view(self, image: np.ndarray, crop: int) -> np.ndarray:
        view = image[:, self.row : self.row + crop, self.column : self.column + crop]
        return view[:, :, ::-1] if self.mirror else view


def predictions(
    sizes: list[tuple[int, int]],
    crop: int,
    edges: tuple[int, int] | None = None,
    seed: int = SEED,
) -> list[Drawn]:
    """What a network of one data layer draws for images of these heights and widths.

    The layer's own generator is seeded with the second number of Caffe's: the first is
    drawn for the set-up. edges: smallest and largest; None: not resized.
    """
    numbers = twister(int(twister(seed)(2)[1]))
    drawn = []
    for height, width in sizes:
        mirror = bool(numbers(1)[0] % 2)
        edge = 0
        if edges:
            edge = edges[0] + int(numbers(1)[0] % (edges[1] - edges[0] + 1))
            shorter = min(height, width)
            height, width = (round(x * edge / shorter) for x in (height, width))
        row, column = numbers(2) % (height - crop + 1, width - crop + 1)
        drawn.append(Drawn(edge, int(row), int(column), mirror))
    return drawn


def twister(seed: int):
    """Gives 32-bit numbers of the Mersenne Twister."""
    state = np.random.RandomState(seed)
    return lambda count: state.randint(0, 1 << 32, size=count, dtype=np.uint32)


def search(output: np.ndarray, images: dict[int, np.ndarray]) -> Drawn:
    """The edge, place and mirror of the view most like `output`, (C, crop, crop).

    images: edge -> the image resized to it. Compares 64 pixels at every place.
    """
    crop = output.shape[-1]
    y, x = np.random.default_rng(0).integers(crop, size=(2, 64))
    found = []
    for edge, image in images.items():
        plane = image[0].astype(np.float32)
        rows = np.arange(plane.shape[0] - crop + 1)[:, np.newaxis, np.newaxis]
        columns = np.arange(plane.shape[1] - crop + 1)[:, np.newaxis]
        candidates = plane[rows + y, columns + x]
        for mirror in (False, True):
            seen = output[0, y, crop - 1 - x if mirror else x]
            distance = np.abs(candidates - seen).sum(-1)
            row, column = np.unravel_index(distance.argmin(), distance.shape)
            place = Drawn(edge, int(row), int(column), mirror)
            found.append((distance.min(), place))
    return min(found, key=lambda item: item[0])[1]


def assert_same_pixels(output: np.ndarray, expected: np.ndarray) -> None:
    """Decoders and roundings differ by 2 of 255 at most, and seldom by more than 1."""
    assert output.shape == expected.shape
    difference = np.abs(output - expected)
    assert difference.max() <= 2 and (difference > 1.01).mean() < 0.01


def sizes_of(count: int) -> list[tuple[int, int]]:
    """Height and width of so many photographs, in a database's order."""
    names = (PHOTOGRAPHS[i % len(PHOTOGRAPHS)] for i in range(count))
    return [pixels_of(name, "png").shape[1:] for name in names]


# --- what the layers make of photographs


@pytest.mark.parametrize("kind", ["jpeg", "png", "raw", "raw grey", "list"])
def test_every_training_image_is_found_by_search(databases, kind):
    # Of the photographs, 300 to 512 pixels high, two shrink by less than 2, one by more
    # and one by less or more.
    low, high, crop, count = 210, 217, 192, 24
    transform = f"shorter_edge: {low} shorter_edge_max: {high} crop_size: {crop}"
    layer = data_layer(databases[kind], f"{transform} mirror: true", batch=8)
    made = outputs(layer, batches=count // 8)
    expected = predictions(sizes_of(count), crop, (low, high))
    for i, output in enumerate(made):
        name = PHOTOGRAPHS[i % len(PHOTOGRAPHS)]
        as_decoded = "jpeg" if kind == "list" else kind
        images = {e: resized(name, as_decoded, e) for e in range(low, high + 1)}
        drawn = search(output, images)
        assert drawn == expected[i]
        assert_same_pixels(output, drawn.view(images[drawn.edge], crop))
    assert len({drawn.mirror for drawn in expected}) == 2


def test_vgg_training(databases):
    count = 12
    made = outputs(data_layer(databases["jpeg"], VGG, count))
    drawn = predictions(sizes_of(count), 224, (256, 512))
    for i, output in enumerate(made):
        image = resized(PHOTOGRAPHS[i % len(PHOTOGRAPHS)], "jpeg", drawn[i].edge)
        assert_same_pixels(output, drawn[i].view(image, 224))


def test_alexnet_training(databases):
    count = 8
    made = outputs(data_layer(databases["jpeg"], ALEXNET, count))
    drawn = predictions([(256, 256)] * count, 227)
    for i, output in enumerate(made):
        square = centre_square(pixels_of(PHOTOGRAPHS[i % len(PHOTOGRAPHS)], "jpeg"))
        assert_same_pixels(output, drawn[i].view(resize(square, 256), 227))


def test_single_crop_in_tests(databases):
    # The range is for training alone.
    transform = f"{SINGLE_CROP} shorter_edge_max: 512"
    layer = data_layer(databases["jpeg"], transform, batch=4)
    made = outputs(layer, phase=caffe.TEST)
    for name, output in zip(PHOTOGRAPHS, made, strict=True):
        image = resized(name, "jpeg", 256)
        row, column = (image.shape[1] - 224) // 2, (image.shape[2] - 224) // 2
        assert_same_pixels(output, Drawn(256, row, column, False).view(image, 224))


def test_whole_images_take_their_own_shape(databases):
    layer = data_layer(databases["jpeg"], WHOLE_IMAGE, batch=1)
    net = loading.build(text_format.Parse(layer, caffe_pb2.NetParameter()))
    for name in PHOTOGRAPHS:
        output = net.forward()["data"][0]
        assert min(output.shape[1:]) == 256
        assert_same_pixels(output, resized(name, "jpeg", 256))
        # Resizing keeps the mean of each colour.
        before = pixels_of(name, "jpeg").mean(axis=(1, 2))
        np.testing.assert_allclose(output.mean(axis=(1, 2)), before, atol=0.25)


def test_center_square_alone(databases):
    layer = data_layer(databases["png"], "center_square: true", batch=1)
    net = loading.build(text_format.Parse(layer, caffe_pb2.NetParameter()))
    for name in PHOTOGRAPHS:
        np.testing.assert_array_equal(
            net.forward()["data"][0], centre_square(pixels_of(name, "png"))
        )


def test_mean_and_scale_of_resized_images(databases):
    plain = outputs(data_layer(databases["jpeg"], VGG, batch=4))
    values = " ".join(f"mean_value: {value}" for value in MEAN.flat)
    layer = data_layer(databases["jpeg"], f"{VGG} {values} scale: 0.0078125", batch=4)
    np.testing.assert_array_equal(outputs(layer), (plain - MEAN) * 0.0078125)


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
@pytest.mark.parametrize("kind", ["png", "raw"])
def test_without_the_fields_it_is_stock_caffe(databases, kind, phase):
    count = 8
    values = " ".join(f"mean_value: {value}" for value in MEAN.flat)
    transform = f"crop_size: 200 {values} scale: 0.3"
    if phase == caffe.TRAIN:
        transform += " mirror: true"
    made = outputs(data_layer(databases[kind], transform, count), phase=phase)
    drawn = predictions(sizes_of(count), 200)
    for i, output in enumerate(made):
        image = pixels_of(PHOTOGRAPHS[i % len(PHOTOGRAPHS)], kind)
        _, height, width = image.shape
        centre = Drawn(0, (height - 200) // 2, (width - 200) // 2, False)
        view = (drawn[i] if phase == caffe.TRAIN else centre).view(image, 200)
        expected = (view.astype(np.float32) - MEAN) * np.float32(0.3)
        np.testing.assert_array_equal(output, expected)


# --- what is drawn


def test_draws_are_uniform(tmp_path):
    # The first channel of the image grows by 2 a row, the second by 1 a column, so that
    # slope and mean of an output tell how it was drawn.
    height, width, low, high, crop, count = 128, 192, 64, 96, 56, 8192
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([2 * y, x, x]).astype(np.uint8)
    source = write_lmdb(tmp_path / "ramps", [raw_datum(ramps)])
    transform = f"shorter_edge: {low} shorter_edge_max: {high} crop_size: {crop}"
    layer = data_layer(source, f"{transform} mirror: true", batch=1024)
    made = outputs(layer, batches=count // 1024)
    down = made[:, 0, :, 0] / 2
    across = made[:, 1, 0, :]
    middle = np.arange(crop) - (crop - 1) / 2
    step = down @ middle / (middle @ middle)
    edges = np.rint(height / step)
    widths = np.rint(width * edges / height)
    rows = np.rint((down.mean(axis=1) + 0.5) * edges / height - crop / 2)
    columns = np.rint((across.mean(axis=1) + 0.5) * widths / width - crop / 2)
    mirrors = across @ middle < 0
    found = zip(edges, rows, columns, mirrors, strict=True)
    expected = predictions([(height, width)] * count, crop, (low, high))
    assert [Drawn(*map(int, drawn)) for drawn in found] == expected

    counts = np.bincount(edges.astype(int) - low, minlength=high - low + 1)
    assert stats.chisquare(counts).pvalue > ONE_IN_A_MILLION
    assert stats.binomtest(int(mirrors.sum()), count).pvalue > ONE_IN_A_MILLION
    # Each place among those that there are, spread evenly over its share.
    spread = np.random.default_rng(0).random((2, count))
    for offset, length, within in zip(
        (rows, columns), (edges, widths), spread, strict=True
    ):
        share = (offset + within) / (length - crop + 1)
        assert stats.kstest(share, "uniform").pvalue > ONE_IN_A_MILLION


def test_the_seed_alone_decides(databases):
    layer = data_layer(databases["jpeg"], VGG, batch=4)
    first = outputs(layer, batches=2)
    np.testing.assert_array_equal(outputs(layer, batches=2), first)
    assert (outputs(layer, batches=2, seed=SEED + 1) != first).any(axis=(1, 2, 3)).all()


def test_lists_of_files_are_drawn_as_databases(databases):
    from_lmdb = outputs(data_layer(databases["jpeg"], VGG, batch=4), batches=2)
    from_files = outputs(data_layer(databases["list"], VGG, batch=4), batches=2)
    np.testing.assert_array_equal(from_lmdb, from_files)


@pytest.mark.parametrize("kind", ["jpeg", "list"])
def test_the_number_of_threads_changes_nothing(databases, tmp_path, kind):
    layer = data_layer(databases[kind], VGG, batch=16)
    here = hashlib.sha256()
    for batch in np.split(outputs(layer, batches=2), 2):
        here.update(batch.tobytes())
    for threads in ("1", "2", "4"):
        done = in_child(tmp_path, layer, batches=2, OMP_NUM_THREADS=threads)
        assert done.stdout == here.hexdigest() + "\n", done.stderr


# --- what the network makes of it

NETWORK = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1
    weight_filler { type: "xavier" } } }
layer { name: "conv1/relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv1/pool" type: "Pooling" bottom: "conv1" top: "conv1/pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv1/pool" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def test_the_decoder_is_compared_with_what_the_encoder_saw(databases, tmp_path):
    values = " ".join(f"mean_value: {value}" for value in MEAN.flat)
    given = tmp_path / "given.prototxt"
    given.write_text(
        'name: "given"\n'
        + data_layer(databases["jpeg"], f"{VGG} {values}", 4, "TRAIN")
        + data_layer(databases["jpeg"], f"{SINGLE_CROP} {values}", 4, "TEST")
        + NETWORK
    )
    out = tmp_path / "out"
    assert not generate([str(given), "--variant", "swwae-all", "--out", str(out)])
    (file,) = out.rglob("swwae-all/train_val.prototxt")
    for phase in (caffe.TRAIN, caffe.TEST):
        caffe.set_random_seed(SEED)
        net = caffe.Net(str(file), phase)
        net.forward()
        data = net.blobs["data"].data
        target = net.blobs["data/scaled"].data
        scale = np.float32(1 / 255)
        np.testing.assert_allclose(target, data * scale, rtol=1e-6)
        squares = (net.blobs["dec:data"].data.astype(float) - target) ** 2
        loss = float(net.blobs["dec:loss@data/scaled"].data)
        np.testing.assert_allclose(loss, squares.sum() / (2 * len(data)), rtol=1e-4)
        # And what it saw is what a data layer alone makes.
        rule = "TRAIN" if phase == caffe.TRAIN else "TEST"
        transform = VGG if phase == caffe.TRAIN else SINGLE_CROP
        layer = data_layer(databases["jpeg"], f"{transform} {values}", 4, rule)
        np.testing.assert_array_equal(data, outputs(layer, phase=phase))


# --- what is refused


def float_datum() -> caffe_pb2.Datum:
    return caffe_pb2.Datum(channels=3, height=8, width=8, float_data=[0.5] * 192)


def grey_datum() -> caffe_pb2.Datum:
    grey = photograph(PHOTOGRAPHS[0]).convert("L")
    return encoded_datum(encoded(grey, "jpeg"))


SETUP, FIRST_BATCH = 0, 1


@pytest.mark.parametrize(
    ("transform", "when", "sentence"),
    [
        (
            "shorter_edge_max: 512 crop_size: 224",
            SETUP,
            "shorter_edge_max 512 needs a shorter_edge",
        ),
        (
            "shorter_edge: 256 shorter_edge_max: 255",
            SETUP,
            "shorter_edge_max 255 is below shorter_edge 256.",
        ),
        (
            "shorter_edge: 256 crop_size: 257",
            SETUP,
            "crop_size 257 does not fit into images whose shorter edge is"
            " shorter_edge 256.",
        ),
        (
            'shorter_edge: 256 mean_file: "mean.binaryproto"',
            SETUP,
            "with shorter_edge or center_square give mean_value.",
        ),
        ("shorter_edge: 4000000000", SETUP, "at most 32768 pixels"),
        (
            "crop_size: 500",
            SETUP,
            "An image of 400 x 600 pixels (height x width) is smaller than crop_size"
            " 500; with shorter_edge: 500 in transform_param it would be resized.",
        ),
        (
            "shorter_edge: 256",
            FIRST_BATCH,
            "Image 1 of the batch is 256 x 385 (height x width) and the batch takes"
            " 256 x 384; whole images of several shapes need batch_size: 1,",
        ),
    ],
)
def test_fields_that_contradict_are_refused(
    databases, tmp_path, transform, when, sentence
):
    layer = data_layer(databases["jpeg"], transform, batch=2)
    assert_refused(in_child(tmp_path, layer, batches=when, phase=caffe.TEST), sentence)


def deep_png() -> bytes:
    """A grey ramp with 16 bits a pixel."""
    picture = Image.fromarray(np.arange(300 * 300, dtype=np.uint16).reshape(300, 300))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("datums", "when", "sentence"),
    [
        ([float_datum()], FIRST_BATCH, "this Datum holds floats (float_data)."),
        (
            [photograph_datum(PHOTOGRAPHS[0], "jpeg"), grey_datum()],
            FIRST_BATCH,
            "Image 1 of the batch has 1 channels, and the network's data 3;"
            " force_color: true in transform_param decodes every image as color",
        ),
        (
            [encoded_datum(b"no image")],
            SETUP,
            "its 8 bytes are no image that OpenCV can decode",
        ),
        (
            [caffe_pb2.Datum(data=b"123", channels=1, height=2, width=2)],
            SETUP,
            "has 1 x 2 x 2 (channels x height x width) pixels, but 3 values.",
        ),
        (
            [
                caffe_pb2.Datum(
                    data=bytes(60000), channels=1, height=1, width=60000, label=3
                )
            ],
            SETUP,
            "An image of 1 x 60000 pixels (height x width) would become too large with"
            " a shorter edge of 256;",
        ),
        (
            [encoded_datum(deep_png())],
            SETUP,
            "is an image of more than 8 bits a channel; force_color: true",
        ),
    ],
)
def test_datums_that_do_not_fit_are_refused(tmp_path, datums, when, sentence):
    source = write_lmdb(tmp_path / "lmdb", datums)
    layer = data_layer(source, SINGLE_CROP, batch=len(datums))
    assert_refused(in_child(tmp_path, layer, batches=when, phase=caffe.TEST), sentence)


def test_force_color_takes_grey_images(tmp_path):
    datums = [photograph_datum(PHOTOGRAPHS[0], "jpeg"), grey_datum()]
    source = write_lmdb(tmp_path / "lmdb", datums)
    layer = data_layer(source, f"{SINGLE_CROP} force_color: true", batch=2)
    colour, grey = outputs(layer, phase=caffe.TEST)
    assert (grey[0] == grey[1]).all() and (grey[1] == grey[2]).all()
    assert (colour[0] != colour[1]).any()


def assert_refused(done: subprocess.CompletedProcess, sentence: str) -> None:
    assert done.returncode == -6 and sentence in done.stderr, done.stderr[-2000:]
