"""A network as it is used: its deploy file, its parameters, the pixels it reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.errors import UserError as GeneratorError
from generator.files import render
from generator.layers import Layer
from generator.networks import NETWORKS
from generator.shapes import (
    ShapeError,
    Window,
    convolution_window,
    pooling_window,
)
from generator.stages import folder, plan
from generator.variants import find_variant
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.nets import building, network
from swwae.nets.normalisation import Normalisation
from swwae.runs.run import Run


@dataclass(frozen=True)
class Deployed:
    """A variant's deploy network.

    net: the network's name. path: of its file, as it is shown. image: the shape of an
    image, (channels, height, width). blob: where the image goes. parameters: layer ->
    shapes. pixels: how the image is normalised.
    """

    net: str
    variant: str
    path: str
    layers: caffe_pb2.NetParameter
    blob: str
    image: tuple[int, ...]
    parameters: building.Shapes
    pixels: Normalisation

    @property
    def has_decoder(self) -> bool:
        return find_variant(self.variant).has_decoder

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The network in a file that Caffe can read, as long as the context lasts."""
        with NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
            file.write(text_format.MessageToString(self.layers))
            file.flush()
            yield Path(file.name)


def deployed(net: str, variant: str, depth: int | None = None) -> Deployed:
    """The deploy network of a variant, decoding from a depth (None: the default one).

    Raises UserError: unknown names, a depth out of range, a network that is not
    generated, subtracts a mean image, or that Caffe refuses.
    """
    run = Run(net, variant, 4, depth)
    if depth is not None and not find_variant(variant).has_decoder:
        raise UserError(f"{variant} has no decoder; leave --depth out.")
    built_in = NETWORKS.get(net)
    path = run.models / "deploy.prototxt"
    shown = relative(path)
    if path.is_file() or built_in is None:
        require_file(path, "network", run.generator_command)
        layers = network.read(path)
    else:  # a depth, or a network, that nobody generated
        chosen = find_variant(variant)
        made = plan(built_in, chosen, depth)
        shown = f"models/{folder(built_in, chosen, made.depth)}/deploy.prototxt"
        layers = text_format.Parse(render([made])[shown], caffe_pb2.NetParameter())
    train_val = run.models / "train_val.prototxt"
    if not train_val.is_file():  # the images are the same at every depth
        train_val = Run(net, variant, 4).models / train_val.name
    return described(net, variant, shown, layers, train_val)


def described(
    net: str, variant: str, shown: str, layers: caffe_pb2.NetParameter, train_val: Path
) -> Deployed:
    """As `deployed`, of a network that is given. train_val: where its data layers are;
    a built-in network's own are known without."""
    inputs = [la for la in layers.layer if la.type == "Input" and la.input_param.shape]
    if not inputs:
        raise UserError(f"{shown} has no Input layer with a shape.")
    image = tuple(inputs[0].input_param.shape[0].dim[1:])
    with NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(text_format.MessageToString(layers))
        file.flush()
        try:
            parameters = building.parameter_shapes(Path(file.name))
        except UserError as error:
            raise UserError(str(error).replace(file.name, shown)) from error
    return Deployed(
        net,
        variant,
        shown,
        layers,
        inputs[0].top[0],
        image,
        parameters,
        pixels(net, train_val, image[0]),
    )


def pixels(net: str, train_val: Path, channels: int) -> Normalisation:
    """What the data layers of a network do: BGR in 0..255, less mean_value, by scale.

    Raises UserError where they subtract a mean image.
    """
    mean: tuple[float, ...] = ()
    scale = 1.0
    if train_val.is_file():
        given = [la for la in network.read(train_val).layer if not la.bottom]
        given = [la for la in given if la.HasField("transform_param")]
        for transform in [layer.transform_param for layer in given[:1]]:
            if transform.mean_file:
                raise UserError(
                    f"{relative(train_val)} subtracts a mean image"
                    f" ({transform.mean_file}); only mean_value, a number a channel,"
                    " is understood here."
                )
            mean, scale = tuple(transform.mean_value), transform.scale
    elif net in NETWORKS:
        mean = NETWORKS[net].data.mean_value
    if len(mean) != channels:
        mean = (mean or (0.0,))[:1] * channels
    # mean_value is read in decimals, kept in float32: 103.53, not 103.52999877...
    mean = tuple(float(f"{value:.7g}") / 255 for value in mean)
    return Normalisation(mean, (1 / (255 * scale),) * channels, bgr=channels == 3)


def window(layer: caffe_pb2.LayerParameter, plane: tuple[int, ...] = ()) -> Window:
    """What a convolution, pooling or their inverse looks at.

    plane: channels, height, width of what is pooled, which matters where all of it is.
    Raises UserError where it is no window over height and width.
    """
    pools = layer.type in ("Pooling", "Depooling")
    field = "pooling_param" if pools else "convolution_param"
    fields = {
        known.name: list(value) if known.is_repeated else value
        for known, value in getattr(layer, field).ListFields()
    }
    described_layer = Layer(layer.name, layer.type, (), (), {field: fields})
    try:
        if pools:
            return pooling_window(described_layer, plane)
        return convolution_window(described_layer)
    except (ShapeError, GeneratorError) as error:
        raise UserError(f"the layer {layer.name} {error}.") from error
