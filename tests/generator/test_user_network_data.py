"""What a user's data layers tell: the image's shape, the number, the target's scale."""

import os
from pathlib import Path

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from generator.errors import UserError
from generator.stages import plan
from generator.variants import VARIANTS
from tests.helpers.user_network import FC, convolution, layer, made_of, pooling


def source(kind: str, fields: str, rest: str = "", tops=("data", "label")) -> str:
    names = " ".join(f'top: "{top}"' for top in tops)
    return f'layer {{ name: "source" type: "{kind}" {names} {rest} {fields} }}\n'


def classifier(bottom: str = "data") -> str:
    text = convolution("conv", bottom, "kernel_size: 3 pad: 1")
    text += pooling("pool", "conv", "kernel_size: 2 stride: 2")
    text += layer("InnerProduct", "fc", "pool", FC)
    return text + (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label"'
        ' top: "loss" }\n'
    )


def test_labels_are_silenced_where_nobody_reads_them(thin):
    own = [la for la in thin("nin").data.layers_before if not la.bottoms]
    assert len(own) == 2
    for kind, variant in (("decoder", "swwae-all"), ("pretrain", "swwae-layerwise")):
        made = plan(thin("nin"), VARIANTS[variant])
        file = next(f for f in made.networks if f.kind == kind)
        assert [la for la in file.layers if la.type == "Data"] == own
        assert [la.fields["include"] for la in own] == [
            [{"phase": phase}] for phase in ("TRAIN", "TEST")
        ]
        silences = [la for la in file.layers if la.type == "Silence"]
        assert [la.bottoms for la in silences] == [("label",)]


def unseen(parsed, written: str, backend: str = "backend: LMDB") -> str:
    fields = f'data_param {{ source: "{written}" batch_size: 2 {backend} }}'
    with pytest.raises(UserError, match="give --image") as raised:
        parsed(source("Data", fields) + classifier())
    return str(raised.value)


def test_a_database_that_is_named_otherwise_is_told_of(parsed, tmp_path, monkeypatch):
    """Rather than that the shape is not known alone."""
    folder = tmp_path / "lmdb"
    write_lmdb(folder, 7, (3, 10, 12))
    said = unseen(parsed, f"{folder}/data.mdb")
    assert (
        f"a file, where a database's folder is expected: write its folder, {folder},"
        in said
    )
    said = unseen(parsed, str(folder), backend="")
    assert "which is no LEVELDB: write backend: LMDB in its data_param, or give" in said
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written in ("lmdb", "./lmdb/data.mdb", "~/lmdb", "$HOME/lmdb"):
        said = unseen(parsed, written)
        assert "it is looked for in the project's folder, " in said
        assert f"; write {folder}, or give --image" in said
    assert "(Data) are not there to look at; give --image" in unseen(parsed, "nowhere")


def test_a_real_database_tells_shape_and_number(parsed, tmp_path):
    folder = tmp_path / "lmdb"
    write_lmdb(folder, 7, (3, 10, 12))
    fields = f'data_param {{ source: "{folder}" batch_size: 2 backend: LMDB }}'
    network = parsed(source("Data", fields) + classifier())
    assert network.image.shape == (3, 10, 12)
    assert network.data.train_images == 7
    assert network.data.counted
    crop = "transform_param { crop_size: 8 }"
    network = parsed(source("Data", fields, crop) + classifier())
    assert network.image.shape == (3, 8, 8)
    with pytest.raises(UserError, match="leave the option out"):
        parsed(source("Data", fields) + classifier(), (3, 9, 9))
    made_of(network)


@pytest.mark.parametrize("size", [0, 100, 4096, 9000])
def test_a_damaged_database_is_as_none(size, parsed, tmp_path):
    folder = tmp_path / "lmdb"
    write_lmdb(folder, 200, (3, 10, 12))
    os.truncate(folder / "data.mdb", size)
    fields = f'data_param {{ source: "{folder}" batch_size: 2 backend: LMDB }}'
    with pytest.raises(UserError, match="give --image"):
        parsed(source("Data", fields) + classifier())


def write_lmdb(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    data = bytes(channels * height * width)
    datum = caffe_pb2.Datum(
        channels=channels, height=height, width=width, data=data, label=1
    )
    with (
        lmdb.open(str(folder), map_size=1 << 24) as database,
        database.begin(write=True) as transaction,
    ):
        for index in range(count):
            transaction.put(b"%08d" % index, datum.SerializeToString())


def test_a_real_list_of_images_tells_shape_and_number(parsed, tmp_path):
    for index in range(3):
        Image.new("RGB", (12, 9)).save(tmp_path / f"an image {index}.png")
    names = [f"{tmp_path}/an image {index}.png {index}" for index in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    fields = f'source: "{tmp_path}/list.txt" batch_size: 2'
    network = parsed(
        source("ImageData", f"image_data_param {{ {fields} }}") + classifier()
    )
    assert network.image.shape == (3, 9, 12)
    assert network.data.train_images == 3
    more = f"{fields} new_height: 16 new_width: 20 is_color: false"
    network = parsed(
        source("ImageData", f"image_data_param {{ {more} }}") + classifier()
    )
    assert network.image.shape == (1, 16, 20)


def test_hdf5_needs_the_shape(parsed):
    fields = 'hdf5_data_param { source: "nowhere.txt" batch_size: 4 }'
    text = source("HDF5Data", fields) + classifier()
    with pytest.raises(UserError, match=r"give --image .*x224"):
        parsed(text)
    network = parsed(text, (2, 8, 8))
    assert network.pixel_scale == 1
    assert network.data.train_batch == 4
    assert made_of(network)["dec:loss@data"].bottoms == ("dec:data", "data")


@pytest.mark.parametrize(
    ("scale", "factor"), [(None, 1 / 255), (1 / 255, 1), (1 / 256, 1), (0.017, 0.2307)]
)
def test_the_target_is_the_image_in_units_of_0_to_1(scale, factor, parsed):
    transform = f"transform_param {{ scale: {scale} }}" if scale else ""
    fields = 'data_param { source: "nowhere" batch_size: 2 backend: LMDB }'
    text = source("Data", fields, transform) + classifier()
    made = made_of(parsed(text, (3, 8, 8)))
    if factor == 1:
        assert "data/scaled" not in made
        assert made["dec:loss@data"].bottoms == ("dec:data", "data")
    else:
        found = made["data/scaled"].fields["power_param"]["scale"]
        assert found == pytest.approx(factor, rel=0.001)
        assert made["dec:loss@data/scaled"].bottoms == ("dec:data", "data/scaled")


def rates(transform, before, parsed, convolutions=1):
    """Stage 0's rate and those of stage 2, of two macro-layers.

    before: layers, the last one's top `start`, that the first convolution reads.
    """
    fields = 'data_param { source: "nowhere" batch_size: 2 backend: LMDB }'
    body, bottom = before, "start" if before else "data"
    for index in range(convolutions):
        body += convolution(f"conv1_{index}", bottom, "kernel_size: 3 pad: 1")
        bottom = f"conv1_{index}"
    body += pooling("pool1", bottom, "kernel_size: 2 stride: 2")
    body += convolution("conv2", "pool1", "kernel_size: 3 pad: 1")
    body += layer("InnerProduct", "fc", "conv2", FC)
    body += (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" }'
    )
    training = parsed(source("Data", fields, transform) + body, (3, 8, 8)).training
    return training.schedules[0].base_lr, np.array(training.layerwise_lr[:2])


SCALED = "transform_param { scale: 0.00390625 }"


def test_rates_go_with_the_size_of_the_pixels(parsed):
    """A decoder's with the inverse of its square, as the curvature does; of two linear
    layers in a row, from raw pixels to those in [0, 1], with the inverse itself."""
    classifier_rate, decoders = rates(SCALED, "", parsed)
    assert classifier_rate == 0.01
    raw_rate, raw = rates("", "", parsed)
    assert raw_rate == pytest.approx(0.01 / 255, rel=0.1)
    assert raw == pytest.approx(decoders / 255**2, rel=0.4)
    _, two = rates(SCALED, "", parsed, convolutions=2)
    _, two_raw = rates("", "", parsed, convolutions=2)
    assert two_raw == pytest.approx(two / [255, 255**2], rel=0.4)


def test_rates_are_those_of_small_pixels_where_the_network_makes_them_small(parsed):
    classifier_rate, decoders = rates(SCALED, "", parsed)
    power = layer("Power", "start", "data", "power_param { scale: 0.00390625 }")
    raw_rate, raw = rates("", power, parsed)
    assert raw_rate == classifier_rate
    assert raw == pytest.approx(decoders, rel=0.4)
    normalised_rate, normalised = rates("", layer("BatchNorm", "start", "data"), parsed)
    assert normalised_rate == classifier_rate
    assert normalised == pytest.approx(decoders * 0.3**2, rel=0.4)
