"""A .caffemodel of another program is imported exactly, or refused."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.exchange.importing import (
    from_caffemodel,
)
from swwae.nets import weights
from tests.helpers import small
from tests.helpers.torch_side import torch_side


def caffemodel(net, params, version):
    """A file of Caffe's current format, or of one of the two older ones."""
    message = caffe_pb2.NetParameter(name="old")
    for name, blobs in params.items():
        if version == "V2":
            layer = message.layer.add(name=name)
        else:
            layer = message.layers.add()
            layer = layer.layer if version == "V0" else layer
            layer.name = name
        for values in blobs:
            blob = layer.blobs.add()
            if version == "V2":
                blob.shape.dim[:] = values.shape
            else:
                four = (1,) * (4 - values.ndim) + values.shape
                blob.num, blob.channels, blob.height, blob.width = four
            blob.data.extend(values.ravel().tolist())
    return message


@pytest.mark.parametrize("version", ["V0", "V1", "V2"])
def test_a_caffemodel_of_any_format_is_copied_exactly(version, tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "swwae-first", tmp_path)
    params, _ = torch_side(net)
    del params["fc4"]
    params["old"] = [np.ones((2, 2))]
    file = tmp_path / "old.caffemodel"
    file.write_bytes(caffemodel(net, params, version).SerializeToString())
    result, comparison = from_caffemodel(weights.load(file), net, file)
    assert comparison.copied == ["conv1_1", "conv1_2", "conv2_1", "fc3"]
    assert comparison.missing[:2] == ["fc4", "dec:conv2_1"]
    assert comparison.unused == ["old"]
    assert [layer.name for layer in result.layer] == comparison.copied
    for name, blobs in weights.blobs(result).items():
        for blob, expected in zip(blobs, params[name], strict=True):
            assert weights.shape(blob) == expected.shape
            np.testing.assert_array_equal(
                weights.array(blob), expected.astype(np.float32)
            )


def test_a_caffemodel_that_diverged_is_refused(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    params, _ = torch_side(net)
    params["fc4"][0] = np.full_like(params["fc4"][0], np.inf)
    given = caffemodel(net, params, "V2")
    with pytest.raises(UserError, match="layer fc4 of .* not finite"):
        from_caffemodel(given, net, tmp_path / "x.caffemodel")


def test_a_caffemodel_of_another_network_is_refused(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    file = tmp_path / "x.caffemodel"
    other = caffemodel(net, {"conv1_1": [np.ones((9, 3, 3, 3)), np.ones(9)]}, "V1")
    with pytest.raises(UserError, match="conv1_1 has the shapes 9x3x3x3, 1x1x1x9"):
        from_caffemodel(other, net, file)
    with pytest.raises(UserError, match="has no layer of small_vgg"):
        from_caffemodel(caffemodel(net, {"a": [np.ones((1, 1))]}, "V2"), net, file)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 4), (128,), (2, 3, 5, 7), (70000,)])
def test_a_blob_is_what_protobuf_would_write(shape):
    values = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    expected = caffe_pb2.BlobProto(data=values.ravel().tolist())
    expected.shape.dim[:] = shape
    assert weights.message(values) == expected
