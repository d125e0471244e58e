"""Weights for deploy_conv.prototxt: inner products as the convolutions that they are.

The numbers stay as they are, their shape changes: an inner product of M outputs over a
map of C channels, H x W, becomes a convolution of shape (M, C, H, W). The result serves
the "convolution" test scheme (Section 4.3) on images of any size.
"""

from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.names import CONVOLUTION_SUFFIX as SUFFIX
from swwae.nets import building, network, weights


def converted(
    given: caffe_pb2.NetParameter, wanted: building.Shapes, transposed: set[str]
) -> tuple[caffe_pb2.NetParameter, list[str]]:
    """The parameters that a fully convolutional network has, and which changed shape.

    given: the classifier's weights. wanted: layer -> shapes, of deploy_conv.
    transposed: inner products whose weights are stored as inputs x outputs. Raises
    UserError where a layer is missing or of other shapes.
    """
    found = weights.blobs(given)
    result = caffe_pb2.NetParameter(name=given.name)
    changed = []
    for name, shapes in wanted.items():
        source = name
        if name not in found and name.endswith(SUFFIX):
            source = name.removesuffix(SUFFIX)
            changed.append(source)
        if source not in found:
            raise UserError(
                f"the weights have no layer {source}: they are another network's."
            )
        layer = result.layer.add(name=name)
        if len(found[source]) != len(shapes):
            raise UserError(
                f"layer {source} has {len(found[source])} parameters in the weights,"
                f" {name} takes {len(shapes)}: they are another network's."
            )
        for blob, shape in zip(found[source], shapes, strict=True):
            values = weights.array(blob)
            if values.size != np.prod(shape, dtype=int):
                raise UserError(
                    f"layer {source} has the shape {weights.shape(blob)} in the"
                    f" weights, which does not make {shape}: they are another"
                    " network's, or were trained on images of another size."
                )
            if source in transposed and len(shape) > 1:
                values = values.reshape(-1, shape[0]).T
            layer.blobs.append(weights.message(values.reshape(shape)))
    return result, changed


def transposed_layers(deploy: Path) -> set[str]:
    """Inner products of a network file that store their weights transposed."""
    return {
        layer.name
        for layer in network.read(deploy).layer
        if layer.inner_product_param.transpose
    }
