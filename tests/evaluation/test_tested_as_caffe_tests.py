"""What evaluation feeds a network is what Caffe's own data layer yields in tests, and
not what it yields in training."""

import caffe
import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.images.database import Database
from swwae.images.preprocessing import Preprocessing
from swwae.nets.deployed import as_tested, described

HEIGHT, WIDTH, IMAGES = 20, 24, 3
DATA = """
layer {{
  name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ {transform} }}
  data_param {{ source: "{source}" batch_size: {images} backend: LMDB }}
}}
"""
DEPLOY = """
layer {{
  name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }} }}
}}
layer {{
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 2 kernel_size: 3 }}
}}
layer {{
  name: "global" type: "Pooling" bottom: "conv" top: "global"
  pooling_param {{ pool: AVE global_pooling: true }}
}}
layer {{
  name: "prob" type: "Softmax" bottom: "global" top: "prob"
}}
"""
CROP = "crop_size: 16"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tested") / "images_lmdb"
    random = np.random.default_rng(3)
    with lmdb.open(str(folder), map_size=1 << 20) as environment:
        with environment.begin(write=True) as transaction:
            for index in range(IMAGES):
                pixels = random.integers(0, 256, (3, HEIGHT, WIDTH), np.uint8)
                datum = caffe_pb2.Datum(
                    channels=3, height=HEIGHT, width=WIDTH, data=pixels.tobytes()
                )
                transaction.put(f"{index:04}".encode(), datum.SerializeToString())
    return folder


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("scale: 0.1", "scale: 0.004"),
        ("mean_value: 100", "mean_value: 80 mean_value: 90 mean_value: 120"),
        ("mean_value: 100 mirror: true", ""),
        (CROP, "crop_size: 12"),
        (f"{CROP} mirror: true", ""),
        ("", CROP),
        (f"{CROP} shorter_edge: 18", f"{CROP} shorter_edge: 30"),
        (CROP, f"{CROP} center_square: true shorter_edge: 17"),
        ("scale: 0.1 crop_size: 10", f"{CROP} scale: 0.01 mean_value: 50"),
    ],
)
def test_a_test_image_is_what_caffes_data_layer_makes_of_it(
    train, test, source, tmp_path
):
    layers = {
        phase: DATA.format(
            phase=phase, transform=transform, source=source, images=IMAGES
        )
        for phase, transform in (("TRAIN", train), ("TEST", test))
    }
    train_val = tmp_path / "train_val.prototxt"
    train_val.write_text("".join(layers.values()))
    yielding = caffe.Net(str(train_val), caffe.TEST)
    expected = yielding.forward()["data"].copy()

    height, width = HEIGHT, WIDTH
    if "crop_size" in train:
        height = width = int(train.partition("crop_size: ")[2].split()[0])
    deploy = DEPLOY.format(height=height, width=width)
    net = text_format.Parse(deploy, caffe_pb2.NetParameter())
    used = as_tested(described("given", "baseline", "deploy", net, train_val))
    prepare = Preprocessing.of(used.transformation, used.image)
    scale = used.transformation.scale
    found = [prepare(image) * scale for image, _ in Database(source, prepare)]
    assert np.shape(found) == expected.shape
    assert np.abs(np.array(found) - expected).max() < 1e-3
