"""Reading, comparing and merging weights, against messages made by hand."""

import errno
import hashlib
import math
import os

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.nets import weights


def blob(values, shape):
    message = caffe_pb2.BlobProto(data=np.asarray(values, np.float32).ravel())
    message.shape.dim.extend(shape)
    return message


def old_blob(values, num, channels, height, width):
    return caffe_pb2.BlobProto(
        data=values, num=num, channels=channels, height=height, width=width
    )


def net(**layers):
    """A NetParameter of layers that have these blobs."""
    message = caffe_pb2.NetParameter()
    for name, blobs in layers.items():
        message.layer.add(name=name, type="Whatever").blobs.extend(blobs)
    return message


def old_net(**layers):
    message = caffe_pb2.NetParameter()
    for name, blobs in layers.items():
        message.layers.add(name=name).blobs.extend(blobs)
    return message


def write(path, message):
    path.write_bytes(message.SerializeToString())
    return path


def test_read(tmp_path):
    message = net(conv=[blob(range(6), (2, 3)), blob([7, 8], (2,))], relu=[])
    read = weights.read(write(tmp_path / "x.caffemodel", message))
    assert list(read) == ["conv"]
    weight, bias = read["conv"]
    assert weight.dtype == np.float32
    assert weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bias.tolist() == [7, 8]


def test_read_the_older_format(tmp_path):
    message = old_net(fc=[old_blob(range(6), 1, 1, 2, 3), old_blob([7, 8], 1, 1, 1, 2)])
    weight, bias = weights.read(write(tmp_path / "x.caffemodel", message))["fc"]
    assert weight.shape == (1, 1, 2, 3) and bias.shape == (1, 1, 1, 2)
    assert weight.ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_double_data(tmp_path):
    message = net(x=[caffe_pb2.BlobProto(double_data=[1.5, 2.5])])
    message.layer[0].blobs[0].shape.dim.append(2)
    read = weights.read(write(tmp_path / "x.caffemodel", message))
    assert read["x"][0].tolist() == [1.5, 2.5]


def test_truncated_at_any_byte_is_refused_or_lacks_a_layer(tmp_path):
    whole = net(a=[blob(range(5), (5,))], b=[blob(range(3), (3,))]).SerializeToString()
    path = tmp_path / "x.caffemodel"
    wanted = {"a": [(5,)], "b": [(3,)]}
    refused = 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            comparison = weights.compare(wanted, weights.load(path))
        except UserError as error:
            assert "truncated" in str(error)
            refused += 1
        else:
            assert comparison.missing
    assert refused > len(whole) / 2


@pytest.mark.parametrize("shape", [(2, 2), (-1, -6), (2**40, 2**40), ()])
def test_a_blob_without_its_numbers_is_refused(shape, tmp_path):
    path = write(tmp_path / "x.caffemodel", net(conv=[blob(range(6), shape)]))
    with pytest.raises(UserError, match="damaged: layer conv has 6 numbers"):
        weights.load(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        weights.load(tmp_path / "nowhere.caffemodel")
    path = tmp_path / "x.caffemodel"
    path.write_bytes(b"\x0a\x40vgg")
    with pytest.raises(UserError, match="another kind of file"):
        weights.load(path)
    state = caffe_pb2.SolverState(iter=3, history=[blob([1], (1,))])
    path.write_bytes(state.SerializeToString())
    with pytest.raises(UserError, match=r"has no layers.* \.solverstate"):
        weights.load(path)


def test_compare():
    network = net(
        same=[blob(range(6), (2, 3)), blob([1, 2], (2,))],
        transposed=[blob(range(6), (3, 2))],
        no_bias=[blob(range(6), (2, 3))],
        surplus=[blob([1], (1,))],
    )
    wanted = {
        "same": [(2, 3), (2,)],
        "transposed": [(2, 3)],
        "no_bias": [(2, 3), (2,)],
        "absent": [(4,)],
    }
    comparison = weights.compare(wanted, network)
    assert comparison.copied == ["same"]
    assert comparison.different == ["transposed", "no_bias"]
    assert comparison.missing == ["absent"]
    assert comparison.unused == ["surplus"]


@pytest.mark.parametrize(
    ("old", "wanted", "fits"),
    [
        ((1, 1, 2, 3), (2, 3), True),
        ((1, 1, 1, 6), (6,), True),
        ((2, 3, 1, 1), (2, 3, 1, 1), True),
        ((2, 3, 1, 1), (2, 3), False),
        ((1, 1, 3, 2), (2, 3), False),
    ],
)
def test_older_blobs_fit_as_in_caffe(old, wanted, fits):
    network = old_net(x=[old_blob([0] * math.prod(old), *old)])
    assert (weights.compare({"x": [wanted]}, network).copied == ["x"]) is fits


def test_copy_layers_into_a_network():
    source = old_net(
        fc=[old_blob(range(6), 1, 1, 2, 3)], more=[old_blob([9], 1, 1, 1, 1)]
    )
    target = net(fc=[blob([0] * 6, (2, 3))], own=[blob([5], (1,))])
    weights.copy_layers(source, target, ["fc", "more"])
    assert weights.shapes(target) == {
        "fc": [(2, 3)],
        "own": [(1,)],
        "more": [(1, 1, 1, 1)],
    }
    held = {layer.name: list(layer.blobs[0].data) for layer in target.layer}
    assert held == {"fc": [0, 1, 2, 3, 4, 5], "own": [5], "more": [9]}
    assert not target.layer[0].blobs[0].HasField("num")


def test_save_leaves_the_old_file_where_it_fails(tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    message = net(a=[blob([1], (1,))])
    weights.save(message, path)
    assert path.read_bytes() == message.SerializeToString()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match="cannot write .*folder: Is a directory"):
        with whole_file(folder, "w") as file:
            file.write("ä")
    assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(UserError, match="nowhere/x: No such file"):
        with whole_file(tmp_path / "nowhere" / "x"):
            pass
    with pytest.raises(UserError, match="x: No space left on device"):
        with whole_file(tmp_path / "x"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == [folder]


def test_whole_text_is_utf_8(tmp_path):
    with whole_file(tmp_path / "x", "w") as file:
        file.write("ä")
    assert (tmp_path / "x").read_bytes() == "ä".encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_layers_that_are_not_finite_are_named(value):
    good, bad = blob([1, 3e38], (2,)), blob([1, value], (2,))
    assert weights.not_finite(net(a=[good], b=[good, good])) is None
    assert weights.not_finite(net(a=[good], b=[good, bad])) == "b"
    assert weights.not_finite(old_net(a=[old_blob([value], 1, 1, 1, 1)])) == "a"


def test_count_and_checksum(tmp_path):
    assert weights.count([(4, 3, 2), (4,)]) == 28
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1000)
    assert weights.sha256(path) == hashlib.sha256(b"abc" * 1000).hexdigest()
