"""pycaffe's arrays of blobs: views that stay true from pass to pass, whatever layout the
layers of oneDNN would like the numbers in."""

import caffe
import numpy as np
import pytest

NETWORK = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 engine: ENGINE
    weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 engine: ENGINE
    weight_filler { type: "msra" } } }
layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "sum" type: "Reduction" bottom: "pool" top: "sum" loss_weight: 1 }
"""
BLOBS = ("conv1", "conv2", "pool")


@pytest.fixture
def nets(tmp_path):
    """Engine -> the same network on it."""
    caffe.set_mode_cpu()
    made = {}
    for engine in ("CAFFE", "DNNL"):
        path = tmp_path / f"{engine}.prototxt"
        path.write_text("force_backward: true\n" + NETWORK.replace("ENGINE", engine))
        made[engine] = caffe.Net(str(path), caffe.TRAIN)
    for name, blobs in made["CAFFE"].params.items():
        for at, blob in enumerate(blobs):
            made["DNNL"].params[name][at].data[...] = blob.data
    return made


def passes(net, seed):
    net.blobs["data"].data[...] = np.random.default_rng(seed).normal(
        size=(2, 3, 32, 32)
    )
    net.clear_param_diffs()
    net.forward()
    net.backward()


def near(found, expected):
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_arrays_asked_for_after_a_pass(nets):
    for net in nets.values():
        passes(net, 1)
    for name in BLOBS:
        near(nets["DNNL"].blobs[name].data, nets["CAFFE"].blobs[name].data)
        near(nets["DNNL"].blobs[name].diff, nets["CAFFE"].blobs[name].diff)


def test_arrays_kept_from_before(nets):
    net = nets["DNNL"]
    passes(net, 1)
    kept = {name: (net.blobs[name].data, net.blobs[name].diff) for name in BLOBS}
    before = {name: data.copy() for name, (data, _) in kept.items()}
    for net in nets.values():
        passes(net, 2)
    for name, (data, diff) in kept.items():
        assert not np.array_equal(data, before[name])
        near(data, nets["CAFFE"].blobs[name].data)
        near(diff, nets["CAFFE"].blobs[name].diff)
