"""A network as it is used: its deploy file, its parameters, the pixels it reads."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.files import render
from generator.layers import Layer
from generator.networks import NETWORKS
from generator.schema import layer_of
from generator.shapes import (
    ShapeError,
    Window,
    convolution_window,
    pooling_window,
)
from generator.source import image_shape
from generator.stages import folder, plan
from generator.variants import find_variant
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.nets import building, network
from swwae.nets.normalisation import Normalisation
from swwae.nets.transformation import Transformation, data_layer, transformation
from swwae.runs.run import Run


@dataclass(frozen=True)
class Deployed:
    """A variant's deploy network.

    net: the network's name. path: of its file, as it is shown. image: the shape of an
    image, (channels, height, width). blob: where the image goes. parameters: layer ->
    shapes. train_val: the file with its data layers. transformation: what these do to
    the pixels of an image in tests.
    """

    net: str
    variant: str
    path: str
    layers: caffe_pb2.NetParameter
    blob: str
    image: tuple[int, ...]
    parameters: building.Shapes
    train_val: Path
    transformation: Transformation

    @property
    def pixels(self) -> Normalisation:
        """How the image is normalised."""
        return self.transformation.normalisation(self.image[0])

    @property
    def has_decoder(self) -> bool:
        return find_variant(self.variant).has_decoder

    def file(self) -> AbstractContextManager[Path]:
        """Returns a context with the network in a file, as `network.as_file`."""
        return network.as_file(self.layers)


def deployed(net: str, variant: str, depth: int | None = None) -> Deployed:
    """Returns the deploy network of a variant that decodes from a depth (None: the
    default one).

    Raises UserError: unknown names, a depth out of range, a network that is not
    generated, subtracts a mean image, or that Caffe refuses.
    """
    run = Run(net, variant, 4, depth)
    if depth is not None and not find_variant(variant).has_decoder:
        raise UserError(f"{variant} has no decoder; leave --depth out.")
    shown, layers = deploy_layers(run)
    return described(net, variant, shown, layers, data_layers_of(run))


def deploy_layers(run: Run) -> tuple[str, caffe_pb2.NetParameter]:
    """Returns the name of a run's deploy.prototxt and what is in it.

    A depth of a built-in network that nobody generated is rendered here. Raises
    UserError where a user's network is not generated.
    """
    built_in = NETWORKS.get(run.net)
    path = run.models / "deploy.prototxt"
    if path.is_file() or built_in is None:
        require_file(path, "network", run.generator_command)
        return relative(path), network.read(path)
    variant = find_variant(run.variant)
    networks = plan(built_in, variant, run.depth)
    shown = f"models/{folder(built_in, variant, networks.depth)}/deploy.prototxt"
    text = render([networks])[shown]
    return shown, text_format.Parse(text, caffe_pb2.NetParameter())


def data_layers_of(run: Run) -> Path:
    """Returns the file that has a run's data layers, which need not exist: its
    train_val.prototxt or, the images being the same, the default depth's.

    Of a built-in network's variant that could not be generated, in a checkout that
    cannot be written to, say, it is the baseline's.
    """
    default = Run(run.net, run.variant, 4)
    baseline = [Run(run.net, "baseline", 4)] if run.net in NETWORKS else []
    places = [each.models / "train_val.prototxt" for each in (run, default, *baseline)]
    return next((path for path in places if path.is_file()), places[1])


def described(
    net: str, variant: str, shown: str, layers: caffe_pb2.NetParameter, train_val: Path
) -> Deployed:
    """Returns the same of a network that is given as layers.

    shown: its file, as it is named to people. train_val: where its data layers are;
    where there is no such file, a built-in network's are known, and another's are
    taken to leave the pixels alone.
    """
    inputs = [la for la in layers.layer if la.type == "Input" and la.input_param.shape]
    if not inputs:
        raise UserError(f"{shown} has no Input layer with a shape.")
    image = tuple(inputs[0].input_param.shape[0].dim[1:])
    with network.as_file(layers) as path:
        try:
            parameters = building.parameter_shapes(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), shown)) from error
    return Deployed(
        net,
        variant,
        shown,
        layers,
        inputs[0].top[0],
        image,
        parameters,
        train_val,
        _transformation(net, train_val),
    )


def as_tested(given: Deployed) -> Deployed:
    """Returns the same for images of the size that the network is tested on, where its
    test images are cropped otherwise than those in training, whose size the deploy
    network has.

    Its parameters then have the shapes that Caffe takes for that size. Raises UserError
    as `deployed` does.
    """
    image = _tested_image(given)
    if image == given.image:
        return given
    layers = caffe_pb2.NetParameter()
    layers.CopyFrom(given.layers)
    source = next(layer for layer in layers.layer if given.blob in layer.top)
    source.input_param.shape[0].dim[1:] = image
    return described(given.net, given.variant, given.path, layers, given.train_val)


def _tested_image(given: Deployed) -> tuple[int, ...]:
    if not given.train_val.is_file():
        return given.image
    net = network.read(given.train_val)
    trained, tested = data_layer(net, "train"), data_layer(net, "val")
    if trained is None or tested is None:
        return given.image
    crop = tested.transform_param.crop_size
    if crop == trained.transform_param.crop_size:
        return given.image
    if crop:
        return given.image[0], crop, crop
    found = image_shape(layer_of(tested))
    return (given.image[0], *found[1:]) if found else given.image


def _transformation(net: str, train_val: Path) -> Transformation:
    if train_val.is_file():
        return transformation(train_val, "val")
    if net in NETWORKS:
        return Transformation(NETWORKS[net].data.mean_value)
    return Transformation()


def window(layer: caffe_pb2.LayerParameter, plane: tuple[int, ...] = ()) -> Window:
    """Returns the window of a convolution, a pooling or their inverse.

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
    except (ShapeError, UserError) as error:
        raise UserError(f"the layer {layer.name} {error}.") from error
