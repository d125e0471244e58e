"""Stages and tools for networks that were generated from a user's file."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from generator.__main__ import main
from generator.errors import UserError
from swwae.base import project
from swwae.images.preprocessing import UNSCALED, Preprocessing
from swwae.nets import data_layers
from swwae.nets.transformation import transformation
from swwae.runs import networks, run

FIXTURE = project.ROOT / "tests/networks/oddities.prototxt"


@pytest.fixture
def generated(tmp_path, monkeypatch):
    """The models and solvers of a user's network, in a root of their own."""
    assert main([str(FIXTURE), "--name", "odd", "--out", str(tmp_path)]) == 0
    monkeypatch.setattr(project, "ROOT", tmp_path)
    return tmp_path


def test_the_default_depth_is_known_by_number_too(generated):
    default = run.Run("odd", "swwae-all", 4)
    assert networks.depths("odd") == (2, 4)
    assert run.Run("odd", "swwae-all", 4, 2) == default
    assert default.network.is_file()
    assert run.Run("odd", "swwae-all", 4, 3).place == "odd/swwae-all/depth3"
    with pytest.raises(UserError, match="from 1 to 4"):
        run.Run("odd", "swwae-all", 4, 5)


def test_the_command_that_makes_its_networks_names_the_file(generated):
    command = run.Run("odd", "sae-all", 3, 1).generator_command
    assert command.endswith(
        f"-m generator {FIXTURE} --name odd --variant sae-all --depth 1"
    )


def test_without_a_resize_the_centre_is_taken_as_caffe_does():
    def framed(side, edge=UNSCALED):
        return Preprocessing((1, side, side), (0.0,), edge).framed(image)

    image = np.arange(9 * 8, dtype=np.uint8).reshape(1, 9, 8)
    np.testing.assert_array_equal(framed(4), image[:, 2:6, 2:6])
    assert framed(4, 0).tolist() != framed(4).tolist()
    assert framed(20).shape == (1, 20, 20)


def test_a_data_layer_that_multiplies_says_so(tmp_path):
    path = tmp_path / "train_val.prototxt"
    path.write_text(
        'layer { name: "d" type: "Data" top: "data" transform_param { scale: 0.5 } }'
    )
    assert transformation(path, "val").scale == 0.5
    path.write_text("")
    assert transformation(path, "val").scale == 1


def test_the_image_is_found_by_name_not_by_place():
    net = caffe_pb2.NetParameter()
    layer = net.layer.add(name="h", type="HDF5Data", top=["label", "data"])
    layer.hdf5_data_param.source = "list.txt"
    data_layers.without_data(net, (1, 3, 8, 8), "data")
    shapes = [list(shape.dim) for shape in net.layer[0].input_param.shape]
    assert net.layer[0].type == "Input"
    assert shapes == [[1], [1, 3, 8, 8]]
    assert not net.layer[0].HasField("hdf5_data_param")


def test_data_of_every_kind_are_looked_for():
    net = caffe_pb2.NetParameter()
    net.layer.add(type="ImageData").image_data_param.source = "list.txt"
    net.layer.add(type="Data").data_param.source = "some_lmdb"
    net.layer[0].image_data_param.batch_size = 7
    assert data_layers.sources(net) == ["list.txt", "some_lmdb"]
    assert data_layers.batch_size(net) == 7
