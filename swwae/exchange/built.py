"""A deploy network that Caffe has built, for programs that read it layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.layers import Shape
from generator.names import decoded, is_decoder
from swwae.nets.deployed import Deployed


@dataclass(frozen=True)
class Built:
    """What Caffe runs, and where it comes in and goes out.

    layers: without inputs. shapes: of the blobs, batch included. parameters: of the
    layers. image, probabilities, reconstruction: blobs; the last is None where there is
    no decoder.
    """

    layers: Sequence[caffe_pb2.LayerParameter]
    shapes: dict[str, Shape]
    parameters: dict[str, Sequence[np.ndarray]]
    image: str
    probabilities: str
    reconstruction: str | None


def built_network(net: Deployed, built: caffe.Net) -> Built:
    """Returns a network that Caffe has built; its arrays are not copied.

    Raises UserError where it yields no class probabilities.
    """
    present = set(built._layer_names)
    outputs = list(built.outputs)
    reconstruction = decoded(net.blob)
    others = [name for name in outputs if not is_decoder(name)]
    if "prob" not in outputs and len(others) != 1:
        raise UserError(
            f"{net.net} has no class probabilities: {net.path} yields"
            f" {', '.join(outputs)}, and none is called 'prob'."
        )
    return Built(
        layers=[
            layer
            for layer in net.layers.layer
            if layer.name in present and layer.type != "Input"
        ],
        shapes={name: tuple(blob.shape) for name, blob in built.blobs.items()},
        parameters={
            name: [blob.data for blob in blobs] for name, blobs in built.params.items()
        },
        image=net.blob,
        probabilities="prob" if "prob" in outputs else others[0],
        reconstruction=reconstruction if reconstruction in outputs else None,
    )
