#!/usr/bin/env python3
"""Weights for deploy_conv.prototxt: inner products as the convolutions that they are.

The numbers stay as they are, their shape changes: an inner product of M outputs over a
map of C channels, H x W, becomes a convolution of shape (M, C, H, W). The result serves
the "convolution" test scheme (Section 4.3) on images of any size.
"""

import argparse
from pathlib import Path

from runtime import UserError, run, use_project_python

use_project_python("caffe", "google", "numpy")

import network  # noqa: E402
import numpy as np  # noqa: E402
import runs  # noqa: E402
import weights  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402
from runs import Run, relative  # noqa: E402

from generator.convolutional import SUFFIX  # noqa: E402


def converted(
    given: caffe_pb2.NetParameter, wanted: network.Shapes, transposed: set[str]
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", default="baseline", help="default: %(default)s")
    parser.add_argument("--depth", type=int, metavar="N")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .caffemodel (default: what the variant's stage 4 left)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.caffemodel")
    options = parser.parse_args()
    if options.out.suffix != ".caffemodel":
        parser.error(f"--out {options.out}: the weights are a .caffemodel")
    runs.check_writable(options.out)
    stage = Run(options.net, options.variant, 4, options.depth)
    source = options.weights or stage.final_weights
    if options.weights is None and not source.is_file():
        raise UserError(
            f"{stage.title} has not been run: give --weights FILE, or run"
            f" {stage.command}"
        )
    path = stage.models / "deploy_conv.prototxt"
    if not path.is_file():
        raise UserError(
            f"the network {relative(path)} is missing: run {stage.generator_command}"
            " (networks without convolutions or class scores have none)."
        )
    transposed = transposed_layers(stage.models / "deploy.prototxt")
    result, changed = converted(
        weights.load(source), network.parameter_shapes(path), transposed
    )
    weights.save(result, options.out)
    print(f"{options.out}: {len(result.layer)} layers for {relative(path)}")
    print(f"  convolutions now: {', '.join(changed) or 'none'}")
    return 0


if __name__ == "__main__":
    run(main)
