"""What is in the files of a stage."""

from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2


def parameters(path: Path) -> dict[str, list[np.ndarray]]:
    network = caffe_pb2.NetParameter()
    network.ParseFromString(path.read_bytes())
    return {
        layer.name: [
            np.array(blob.data, np.float32).reshape(blob.shape.dim)
            for blob in layer.blobs
        ]
        for layer in network.layer
        if layer.blobs
    }
