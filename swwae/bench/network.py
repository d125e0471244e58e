"""The training networks that are timed: fixed inputs, one engine, a quiet solver."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.arguments import INT32
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.nets import data_layers, network
from swwae.nets.cost import loss_weight

ENGINES = ("CAFFE", "DNNL")

RANDOM = ("Dropout", "GaussianNoise")
"""Layers whose results are random: taken out where results are compared."""

FILLED = tuple(
    f"{kind}_param"
    for kind in ("bias", "convolution", "embed", "inner_product", "prelu", "scale")
)
FILLERS = {"filler", "weight_filler", "bias_filler"}
"""In which fields of layers there are fillers of parameters, and what they are called.
"""

RATE_FACTOR = 1e-3
"""What the solver's rate is multiplied by. An update costs the same at any rate, and
thousands of steps on the same images must leave the weights about as they are."""

PIXEL_MEAN = 128.0
"""Subtracted where the data layer subtracts a mean image."""


def with_inputs(
    net: caffe_pb2.NetParameter,
    image: network.Shape,
    blob: str,
    batch: int | None,
    path: Path,
) -> caffe_pb2.NetParameter:
    """Returns the layers that are there in training, on Input layers of `batch` images.

    image, blob: as of `data_layers.without_data`. batch: None for the file's own.
    Several data layers whose images are joined keep their shares. path: of the network,
    for messages. Raises UserError where a share would be no whole number, or no batch
    size is known.
    """
    result = caffe_pb2.NetParameter(name=net.name)
    result.layer.extend(filter(data_layers.in_training, net.layer))
    whole = data_layers.batch_size(net)
    if whole is None and batch is None:
        raise UserError(f"{relative(path)} has no batch size: give --batch N.")
    counts = {}
    for layer in result.layer:
        if layer.type in data_layers.DATA:
            counts[layer.name] = _share(layer, whole, batch or whole, path)
    data_layers.without_data(result, image, blob)
    for layer in result.layer:
        layer.ClearField("include")
        layer.ClearField("exclude")
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                shape.dim[0] = counts.get(layer.name, batch or whole)
    return result


def _share(
    layer: caffe_pb2.LayerParameter, whole: int | None, batch: int, path: Path
) -> int:
    """Returns how many of `batch` images a data layer yields that has yielded its share
    of `whole`."""
    for field, value in layer.ListFields():
        if field.name.endswith("data_param") and hasattr(value, "batch_size"):
            size = value.batch_size
            if size == whole:
                return batch
            if size * batch % whole:
                raise UserError(
                    f"--batch {batch}: the data layer {layer.name} of {relative(path)}"
                    f" yields {size} of {whole} images, and would yield"
                    f" {size * batch / whole:g}; give a multiple of"
                    f" {whole // np.gcd(size, whole)}."
                )
            return size * batch // whole
    return batch


def on_engine(net: caffe_pb2.NetParameter, engine: str) -> caffe_pb2.NetParameter:
    """Returns a copy of the network with one engine for all layers that multiply."""
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    for layer in result.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            param = layer.convolution_param
            param.engine = param.Engine.Value(engine)
        elif layer.type == "InnerProduct":
            param = layer.inner_product_param
            param.engine = param.Engine.Value(engine)
    return result


def without_fillers(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Returns a copy of the network whose parameters begin as zeros: to fill millions
    at random takes seconds, and is in vain where weights are loaded."""
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    for layer in result.layer:
        for name in FILLED:
            param = getattr(layer, name)
            for filler in FILLERS.intersection(param.DESCRIPTOR.fields_by_name):
                if param.HasField(filler):
                    param.ClearField(filler)
    return result


def deterministic(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Returns a copy of the network without dropout and noise: they copy values."""
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    for layer in result.layer:
        if layer.type in RANDOM:
            layer.type = "GaussianNoise"
            layer.ClearField("dropout_param")
            layer.gaussian_noise_param.std = 0  # copies, also in place
    return result


def solver_for(
    stage_solver: caffe_pb2.SolverParameter, net: Path, on_gpu: bool = False
) -> str:
    """Returns a stage's solver for steps that are timed, as text: without tests,
    snapshots and output, at RATE_FACTOR times its rate."""
    kept = ("type", "momentum", "momentum2", "delta", "rms_decay", "weight_decay")
    kept += ("regularization_type", "clip_gradients")
    solver = caffe_pb2.SolverParameter()
    for name in kept:
        if stage_solver.HasField(name):
            setattr(solver, name, getattr(stage_solver, name))
    solver.net = str(net)
    solver.base_lr = stage_solver.base_lr * RATE_FACTOR
    solver.lr_policy = "fixed"
    solver.max_iter = INT32
    solver.solver_mode = solver.GPU if on_gpu else solver.CPU
    solver.random_seed = 1
    return text_format.MessageToString(solver)


def outputs_of(net: caffe_pb2.NetParameter) -> list[str]:
    """Returns the blobs that tell two computations apart: losses, and their inputs."""
    blobs = []
    for layer in net.layer:
        if loss_weight(layer):
            blobs += [layer.top[0], layer.bottom[0]]
    return list(dict.fromkeys(blobs))


def label_blobs(net: caffe_pb2.NetParameter) -> dict[str, str]:
    """Returns input blob of labels -> the scores that a loss compares them with."""
    inputs = {top for layer in net.layer if layer.type == "Input" for top in layer.top}
    return {
        layer.bottom[1]: layer.bottom[0]
        for layer in reversed(net.layer)
        if layer.type.endswith("Loss")
        and len(layer.bottom) > 1
        and layer.bottom[1] in inputs
    }


def tied_layers(net: caffe_pb2.NetParameter) -> set[str]:
    """Returns the layers all of whose parameters are an earlier layer's."""
    seen: set[str] = set()
    tied = set()
    for layer in net.layer:
        names = [param.name for param in layer.param if param.name]
        if names and seen.issuperset(names):
            tied.add(layer.name)
        seen.update(names)
    return tied


def inputs_for(
    original: caffe_pb2.NetParameter,
    net: caffe_pb2.NetParameter,
    classes: Mapping[str, int],
    seed: int,
) -> dict[str, np.ndarray]:
    """Returns blob of an Input layer -> float32 array: random labels, and random pixels
    less the data layer's mean and times its scale.

    original: the network with its data layers. net: as of `with_inputs`. classes: label
    blob -> how many.
    """
    random = np.random.default_rng(seed)
    transforms = {
        layer.name: layer.transform_param
        for layer in filter(data_layers.in_training, original.layer)
        if layer.type in data_layers.DATA
    }
    inputs = {}
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
            inputs[top] = values.astype(np.float32)
    return inputs


def write(path: Path, message: caffe_pb2.NetParameter) -> None:
    """Writes a network file. Raises UserError where it cannot be written."""
    with whole_file(path, "w") as file:
        file.write(text_format.MessageToString(message))
