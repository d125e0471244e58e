"""What a network's data layers do to pixels, read from its train_val.prototxt.

Caffe's data layers read BGR (or grey) in 0..255, subtract a mean, and multiply by a
scale; what goes before (resizing, cropping, mirror images) is theirs, too. Whoever
gives a network images, or weights that were trained on others, reads it here; only
`swwae/bench`, whose images are made up, looks at a layer's `transform_param` itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.base.project import relative
from swwae.nets import network
from swwae.nets.data_layers import DATA, in_phase
from swwae.nets.normalisation import Normalisation

PHASES = {"train": caffe_pb2.TRAIN, "val": caffe_pb2.TEST}
"""Of Caffe, by the images that are read in them."""


@dataclass(frozen=True)
class Transformation:
    """The `transform_param` of a data layer.

    mean: one number a channel, in the channels' order (BGR), or one for all; () for
    none. scale: what the mean-subtracted pixels are multiplied by. mirror: at random.
    crop_size, shorter_edge: pixels, 0 for none. forced: the channels that pictures are
    decoded with (force_gray, force_color); None: their own.
    """

    mean: tuple[float, ...] = ()
    scale: float = 1.0
    mirror: bool = False
    crop_size: int = 0
    shorter_edge: int = 0
    center_square: bool = False
    forced: int | None = None

    def normalisation(self, channels: int) -> Normalisation:
        """Returns the same as x = (pixel - mean) / std, pixels in [0, 1]."""
        mean = self.mean
        if len(mean) != channels:
            mean = (mean or (0.0,))[:1] * channels
        # mean_value is read in decimals, kept in float32: 103.53, not 103.52999877...
        mean = tuple(float(f"{value:.7g}") / 255 for value in mean)
        std = (1 / (255 * self.scale),) * channels
        return Normalisation(mean, std, bgr=channels == 3)


def data_layer(
    net: caffe_pb2.NetParameter, split: str, kinds: Sequence[str] = DATA
) -> caffe_pb2.LayerParameter | None:
    """Returns the first layer of these types that reads a split's images ("train" or
    "val"); None where there is none."""
    layers = (layer for layer in net.layer if layer.type in kinds)
    return next((la for la in layers if in_phase(la, PHASES[split])), None)


def transformation(train_val: Path, split: str) -> Transformation:
    """Returns what is done to a network's training ("train") or test ("val") images.

    A phase without data layers is given the other's; none is nothing done. Raises
    UserError where the file cannot be read, or subtracts a mean image.
    """
    net = network.read(train_val)
    other = {"train": "val", "val": "train"}[split]
    layer = data_layer(net, split) or data_layer(net, other)
    if layer is None:
        return Transformation()
    param = layer.transform_param
    if param.mean_file:
        raise UserError(
            f"{relative(train_val)} subtracts a mean image ({param.mean_file});"
            " only mean_value, a number a channel, is understood here."
        )
    return Transformation(
        tuple(param.mean_value),
        param.scale,
        param.mirror,
        param.crop_size,
        param.shorter_edge,
        param.center_square,
        3 if param.force_color else 1 if param.force_gray else None,
    )
