"""The engine DNNL computes what CAFFE does: whole networks, forward and backward."""

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.base.project import ROOT
from swwae.bench.network import (
    deterministic,
    on_engine,
    with_inputs,
    write,
)
from swwae.nets import network

FORWARD, GRADIENTS = 1e-5, 1e-3
"""What may differ by Euclidean norms, relative: a layer's results of the same inputs, and
all gradients of the same activations and switches. A switch that falls the other way by
a last digit, one in a million, makes another function."""


def relative(found, expected):
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def engines(name, batch, folder):
    """CAFFE's and DNNL's network, of the same weights and images."""
    models = ROOT / "models" / name / "swwae-all"
    path, deploy = models / "train_val.prototxt", models / "deploy.prototxt"
    net = text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
    shape, blob = network.image_shape(deploy), network.image_blob(deploy)
    net = deterministic(with_inputs(net, shape, blob, batch, path))
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    made = []
    for engine in ("CAFFE", "DNNL"):
        path = folder / f"{engine}.prototxt"
        write(path, on_engine(net, engine))
        made.append(caffe.Net(str(path), caffe.TRAIN))
    stock, fast = made
    for layer, blobs in stock.params.items():
        for at, each in enumerate(blobs):
            fast.params[layer][at].data[...] = each.data
    random = np.random.default_rng(1)
    for top in stock.inputs:
        data = stock.blobs[top].data
        labels = data.ndim == 1
        data[...] = random.integers(10 if labels else 256, size=data.shape)
        data[...] -= 0 if labels else 120
        fast.blobs[top].data[...] = data
    return stock, fast


@pytest.mark.parametrize(("name", "batch"), [("vgg8", 8), ("vgg16", 1)])
def test_gradients_of_a_whole_network(name, batch, tmp_path):
    stock, fast = engines(name, batch, tmp_path)
    for at, layer in enumerate(stock._layer_names):
        for net in (stock, fast):
            net._forward(at, at)
        for blob in stock.top_names[layer]:
            found, expected = fast.blobs[blob].data, stock.blobs[blob].data
            if not blob.endswith("pool-mask"):
                assert relative(found, expected) <= FORWARD, blob
            found[...] = expected
    for net in (stock, fast):
        net.backward()
    for layer, blobs in stock.params.items():
        for at, blob in enumerate(blobs):
            found = fast.params[layer][at].diff
            assert relative(found, blob.diff) <= GRADIENTS, (layer, at)
