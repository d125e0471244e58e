"""The training networks that are timed: fixed inputs, one engine, what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.arguments import INT32
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.nets import data_layers, network

MULTIPLYING = ("Convolution", "Deconvolution", "InnerProduct")


ENGINES = ("CAFFE", "DNNL")


CHANCE = ("Dropout", "GaussianNoise")
"""Layers whose results are random: taken out where results are compared."""


SLOWER = 1e-3
"""What the solver's rate is multiplied by. An update costs the same at any rate, and
thousands of steps on the same images must leave the weights about as they are."""


PIXEL_MEAN = 128.0
"""Subtracted where the data layer subtracts a mean image."""


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a training step, two a multiply-add.

    Of convolutions, deconvolutions and inner products, without biases, as the direct
    algorithm needs them (Winograd's needs fewer). forward: of every such layer; data:
    gradients with respect to bottoms; weights: those with respect to parameters. Both
    are counted where Caffe computes them: none for the first layer's bottom, for
    parameters with lr_mult 0, and for what no loss depends on.
    """

    forward: int
    data: int
    weights: int

    @property
    def total(self) -> int:
        return self.forward + self.data + self.weights


def with_inputs(
    net: caffe_pb2.NetParameter,
    image: network.Shape,
    blob: str,
    batch: int | None,
    path: Path,
) -> caffe_pb2.NetParameter:
    """The layers that are there in training, on Input layers of `batch` images.

    image, blob: as of `network.without_data`. batch: None for the file's own. Several
    data layers whose images are joined keep their shares. path: of the network, for
    people. Raises UserError where they cannot.
    """
    made = caffe_pb2.NetParameter(name=net.name)
    made.layer.extend(filter(data_layers.in_training, net.layer))
    whole = data_layers.batch_size(net)
    if whole is None and batch is None:
        raise UserError(f"{relative(path)} has no batch size: give --batch N.")
    counts = {}
    for layer in made.layer:
        if layer.type in data_layers.DATA:
            counts[layer.name] = _share(layer, whole, batch or whole, path)
    data_layers.without_data(made, image, blob)
    for layer in made.layer:
        layer.ClearField("include")
        layer.ClearField("exclude")
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                shape.dim[0] = counts.get(layer.name, batch or whole)
    return made


def _share(
    layer: caffe_pb2.LayerParameter, whole: int | None, batch: int, path: Path
) -> int:
    for field, value in layer.ListFields():
        if field.name.endswith("data_param") and hasattr(value, "batch_size"):
            own = value.batch_size
            if own == whole:
                return batch
            if own * batch % whole:
                raise UserError(
                    f"--batch {batch}: the data layer {layer.name} of {relative(path)}"
                    f" yields {own} of {whole} images, and would yield"
                    f" {own * batch / whole:g}; give a multiple of"
                    f" {whole // np.gcd(own, whole)}."
                )
            return own * batch // whole
    return batch


def on_engine(net: caffe_pb2.NetParameter, engine: str) -> caffe_pb2.NetParameter:
    """The network with one engine for all layers that multiply."""
    made = caffe_pb2.NetParameter()
    made.CopyFrom(net)
    for layer in made.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            param = layer.convolution_param
            param.engine = param.Engine.Value(engine)
        elif layer.type == "InnerProduct":
            param = layer.inner_product_param
            param.engine = param.Engine.Value(engine)
    return made


def without_chance(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """The network with copies in place of dropout and noise."""
    made = caffe_pb2.NetParameter()
    made.CopyFrom(net)
    for layer in made.layer:
        if layer.type in CHANCE:
            layer.type = "GaussianNoise"
            layer.ClearField("dropout_param")
            layer.gaussian_noise_param.std = 0  # copies, also in place
    return made


def solver_for(given: caffe_pb2.SolverParameter, net: Path) -> str:
    """A stage's solver for steps that are timed, as text: without tests, snapshots and
    words, at SLOWER times its rate."""
    kept = ("type", "momentum", "momentum2", "delta", "rms_decay", "weight_decay")
    kept += ("regularization_type", "clip_gradients")
    made = caffe_pb2.SolverParameter()
    for name in kept:
        if given.HasField(name):
            setattr(made, name, getattr(given, name))
    made.net = str(net)
    made.base_lr = given.base_lr * SLOWER
    made.lr_policy = "fixed"
    made.max_iter = INT32
    made.solver_mode = made.CPU
    made.random_seed = 1
    return text_format.MessageToString(made)


def outputs_of(net: caffe_pb2.NetParameter) -> list[str]:
    """The blobs that tell two computations apart: losses, and what they look at."""
    found = []
    for layer in net.layer:
        if _loss_weight(layer):
            found += [layer.top[0], layer.bottom[0]]
    return list(dict.fromkeys(found))


def label_blobs(net: caffe_pb2.NetParameter) -> dict[str, str]:
    """Input blob of labels -> the scores that a loss compares them with."""
    inputs = {top for layer in net.layer if layer.type == "Input" for top in layer.top}
    return {
        layer.bottom[1]: layer.bottom[0]
        for layer in reversed(net.layer)
        if layer.type.endswith("Loss")
        and len(layer.bottom) > 1
        and layer.bottom[1] in inputs
    }


def tied_layers(net: caffe_pb2.NetParameter) -> set[str]:
    """Layers all of whose parameters are another layer's before them."""
    seen: set[str] = set()
    found = set()
    for layer in net.layer:
        names = [param.name for param in layer.param if param.name]
        if names and seen.issuperset(names):
            found.add(layer.name)
        seen.update(names)
    return found


def inputs_for(
    given: caffe_pb2.NetParameter,
    net: caffe_pb2.NetParameter,
    classes: Mapping[str, int],
    seed: int,
) -> dict[str, np.ndarray]:
    """Blob of an Input layer -> float32: random pixels, less the data layer's mean and
    by its scale; random labels.

    given: the network with its data layers. classes: label blob -> how many.
    """
    random = np.random.default_rng(seed)
    transforms = {
        layer.name: layer.transform_param
        for layer in filter(data_layers.in_training, given.layer)
        if layer.type in data_layers.DATA
    }
    made = {}
    for layer in net.layer:
        if layer.type != "Input":
            continue
        transform = transforms.get(layer.name, caffe_pb2.TransformationParameter())
        for top, shape in zip(layer.top, layer.input_param.shape, strict=True):
            size = tuple(shape.dim)
            if len(size) == 1:
                values = random.integers(classes.get(top, 1), size=size)
            else:
                mean = list(transform.mean_value)
                if transform.mean_file:
                    mean = [PIXEL_MEAN]
                mean = np.array(mean or [0.0]).reshape(1, -1, 1, 1)
                values = (random.integers(256, size=size) - mean) * transform.scale
            made[top] = values.astype(np.float32)
    return made


def cost(
    net: caffe_pb2.NetParameter,
    blobs: Mapping[str, Sequence[int]],
    parameters: Mapping[str, Sequence[Sequence[int]]],
) -> Cost:
    """What a training step costs. blobs, parameters: shapes, the batch included."""
    needing: set[str] = set()  # blobs that a gradient is wanted of
    backward: dict[int, tuple[bool, bool]] = {}  # layer -> data's, weights'
    for place, layer in enumerate(net.layer):
        rates = [param.lr_mult for param in layer.param]
        rates += [1.0] * (len(parameters.get(layer.name, ())) - len(rates))
        flows = list(layer.propagate_down) or [True] * len(layer.bottom)
        data = any(
            blob in needing and goes
            for blob, goes in zip(layer.bottom, flows, strict=True)
        )
        if layer.type == "BatchNorm":
            rates = []
        backward[place] = data, bool(rates and rates[0])
        if data or any(rates):
            needing.update(layer.top)
        else:
            needing.difference_update(layer.top)
    under: set[str] = set()  # blobs that a loss depends on
    sums = [0, 0, 0]
    for place in reversed(range(len(net.layer))):
        layer = net.layer[place]
        counts = bool(_loss_weight(layer)) or not under.isdisjoint(layer.top)
        if counts:
            under.update(layer.bottom)
        if layer.type in MULTIPLYING:
            operations = 2 * _multiply_adds(layer, blobs, parameters[layer.name][0])
            data, weights = backward[place]
            sums[0] += operations
            sums[1] += operations * (data and counts)
            sums[2] += operations * (weights and counts)
    return Cost(*sums)


def _multiply_adds(
    layer: caffe_pb2.LayerParameter,
    blobs: Mapping[str, Sequence[int]],
    weights: Sequence[int],
) -> int:
    bottom, top = blobs[layer.bottom[0]], blobs[layer.top[0]]
    if layer.type == "Convolution":
        return top[0] * prod(top[2:]) * prod(weights)
    if layer.type == "Deconvolution":
        return bottom[0] * prod(bottom[2:]) * prod(weights)
    axis = layer.inner_product_param.axis
    return prod(bottom[:axis]) * prod(weights)


def _loss_weight(layer: caffe_pb2.LayerParameter) -> float:
    if layer.loss_weight:
        return layer.loss_weight[0]
    return float(layer.type.endswith("Loss") and bool(layer.top))


def write(path: Path, message: caffe_pb2.NetParameter) -> None:
    with whole_file(path, "w") as file:
        file.write(text_format.MessageToString(message))
