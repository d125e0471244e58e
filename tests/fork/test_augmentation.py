"""The data layers' augmentation, against an implementation of its own in numpy.

Photographs are scikit-image's. What the layers draw at random is known in two ways: by
search for the scale, place and mirror that make an output, and from the Mersenne
Twister that Caffe seeds (numpy has the same one).
"""

import io
from functools import cache

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from generator.__main__ import main as generate
from tests.helpers import loading
from tests.helpers.augmentation import (
    ENCODERS,
    PHOTOGRAPHS,
    SEED,
    SINGLE_CROP,
    VGG,
    Drawn,
    data_layer,
    encoded,
    outputs,
    planes,
    predictions,
)
from tests.helpers.photographs import photograph

MEAN = np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)
ALEXNET = "center_square: true shorter_edge: 256 crop_size: 227 mirror: true"
WHOLE_IMAGE = "shorter_edge: 256"

# --- photographs and databases


@cache
def pixels_of(name: str, kind: str) -> np.ndarray:
    """What a decoder that is not Caffe's makes of a photograph, uint8 (C, h, w)."""
    picture = photograph(name)
    if kind in ENCODERS:
        picture = Image.open(io.BytesIO(encoded(picture, kind)))
    return planes(picture.convert("L") if kind == "raw grey" else picture)


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
