"""A classifier's weights for its fully convolutional network, deploy_conv.prototxt.

The numbers stay as they are, their shape changes: an inner product of M outputs over a
map of C channels, H x W, becomes a convolution of shape (M, C, H, W). That serves the
"convolution" test scheme (Section 4.3) on images of any size.
"""

from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.names import CONVOLUTION_SUFFIX as SUFFIX
from swwae.base.project import relative
from swwae.nets import building, weights
from swwae.nets.deployed import deploy_layers
from swwae.runs.run import Run


def converted(
    classifier: caffe_pb2.NetParameter, wanted: building.Shapes, transposed: set[str]
) -> tuple[caffe_pb2.NetParameter, list[str]]:
    """Returns the parameters of a fully convolutional network, and the layers that
    changed their shape.

    classifier: its weights. wanted: layer -> shapes, of deploy_conv.
    transposed: inner products whose weights are stored as inputs x outputs. Raises
    UserError where a layer is missing or of other shapes.
    """
    found = weights.blobs(classifier)
    result = caffe_pb2.NetParameter(name=classifier.name)
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


def converted_from(
    source: Path, wanted: building.Shapes, transposed: set[str]
) -> tuple[caffe_pb2.NetParameter, list[str]]:
    """Returns as `converted` does of the weights in a file, which its UserError
    names."""
    classifier = weights.load(source)
    try:
        return converted(classifier, wanted, transposed)
    except UserError as error:
        raise UserError(f"{relative(source)}: {error}") from error


def transposed_layers(net: str) -> set[str]:
    """Returns the inner products of a network's classifier that store their weights
    transposed."""
    _, deploy = deploy_layers(Run(net, "baseline", 4))
    return {layer.name for layer in deploy.layer if layer.inner_product_param.transpose}


def network_file(net: str, otherwise: str = "") -> Path:
    """Returns the fully convolutional network of a net, deploy_conv.prototxt: that of
    the baseline, as all variants and depths have its classifier.

    Raises UserError where there is none; otherwise: what that sentence ends with.
    """
    baseline = Run(net, "baseline", 4)
    path = baseline.models / "deploy_conv.prototxt"
    if not path.is_file():
        raise UserError(
            f"the network {relative(path)} is missing: run {baseline.generator_command}"
            f" (networks without convolutions or class scores have none{otherwise})."
        )
    return path


def convert_file(net: str, source: Path, out: Path) -> tuple[str, list[str]]:
    """Writes a weights file for deploy_conv.prototxt.

    source: the classifier's weights. Returns what was written, in words, and the layers
    that are convolutions now. Raises UserError where files are missing, not finite
    or not of this network.
    """
    path = network_file(net)
    wanted = building.parameter_shapes(path)
    result, changed = converted_from(source, wanted, transposed_layers(net))
    weights.require_finite(result, source)
    weights.save(result, out)
    return f"{len(result.layer)} layers for {relative(path)}", changed
