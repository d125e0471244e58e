"""Writes a network's parameters as a state dict of torch, or its layers as ONNX.

Parameters have torchvision's names and normalisation where torchvision has the network
(vgg16, vgg16_bn, alexnet_owt), else the layers' own names (conv1_1.weight).
"""

import os
from pathlib import Path

import caffe
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.exchange.built import built_network
from swwae.exchange.folding import Fold, border_remark, first_layer, fold
from swwae.exchange.state_dict import (
    DECODER,
    TORCHVISION_NAMES,
    Blobs,
    Tensors,
    torch_names,
    units,
)
from swwae.nets import weights
from swwae.nets.deployed import Deployed
from swwae.nets.normalisation import Normalisation, numbers


def check_weights(net: Deployed, file: Path) -> None:
    """Raises UserError where a weights file cannot be read, lacks one of the network's
    layers, has it in other shapes, or holds numbers that are not finite."""
    loaded = weights.load(file)
    weights.require_all(net.parameters, loaded, file, net.net, net.path)
    weights.require_finite(loaded, file)


def load(net: Deployed, file: Path) -> caffe.Net:
    """Returns the network with its weights; UserError as `check_weights` raises."""
    check_weights(net, file)
    caffe.set_mode_cpu()
    with net.file() as path:
        return caffe.Net(str(path), caffe.TEST, weights=str(file))


def state_dict(
    net: Deployed, blobs: Blobs, part: str, pixels: Normalisation
) -> tuple[Tensors, Fold | None]:
    """Returns the parameters of a part as torch names them, for images normalised as
    `pixels`, and how they were folded; None where the part has no image.

    blobs: all of the network's; the first layer's are replaced. The decoder's yield
    what they do in Caffe: BGR in units of [0, 1], less the mean. Raises UserError for
    layers that torch has nothing for.
    """
    found = units(net.layers, net.parameters)
    names = torch_names(net.net, found)
    folded = None
    if part != "decoder":
        first = first_layer(net)
        folded = fold(net, first, blobs, first.pixels, pixels)
    tensors = {
        f"{names[unit.layer]}.{parameter}": np.asarray(values, order="C")
        for unit in found
        if part == "both" or unit.layer.startswith(DECODER) == (part == "decoder")
        for parameter, values in unit.to_torch(blobs).items()
    }
    return tensors, folded


def export_safetensors(
    net: Deployed, built: caffe.Net, part: str, pixels: Normalisation, out: Path
) -> list[str]:
    """Writes a state dict; returns what is to be said of it."""
    blobs = {name: [blob.data for blob in own] for name, own in built.params.items()}
    tensors, folded = state_dict(net, blobs, part, pixels)
    with whole_file(out) as file:
        mode = os.fstat(file.fileno()).st_mode
        try:
            save_file(tensors, file.name, metadata={"format": "pt"})
        except SafetensorError as error:  # of a full disk, say
            raise UserError(f"cannot write {relative(out)}: {error}.") from error
        os.chmod(file.name, mode)  # it makes files that only their owner reads
    theirs = net.net in TORCHVISION_NAMES and part != "decoder"
    lines = [f"{len(tensors)} tensors"]
    if theirs:
        name = {"alexnet_owt": "alexnet"}.get(net.net, net.net)
        lines.append(f"names: those of torchvision.models.{name}")
    else:
        lines.append("names: the layers' own, such as " + next(iter(tensors)))
    if folded is not None:
        lines.append(f"images: {pixels}, folded into {folded.layer}")
        lines.append(border_remark(folded, exact_export(net)))
    if part != "encoder":
        order = "BGR " if net.image[0] == 3 else ""
        lines.append(f"dec:data: {order}in units of [0, 1], less the mean, as here")
    return lines


def exact_export(net: Deployed) -> str:
    """Returns the option with which an export is exact at the border, too."""
    mean = numbers(net.pixels.reordered(False).mean)
    return f"exact with --mean {mean}, for images normalised with that mean"


def export_onnx(
    net: Deployed, built: caffe.Net, part: str, raw: bool, out: Path
) -> list[str]:
    """Writes a model that onnx.checker accepts; returns what is to be said of it."""
    import onnx

    from swwae.exchange.onnx_model import model

    exported = model(built_network(net, built), part, None if raw else net.pixels)
    graph = exported.graph
    lines = [
        f"{kind}: " + ", ".join(_described(value) for value in values)
        for kind, values in (
            ("takes", graph.input),
            ("yields", graph.output),
        )
    ]
    order = {1: "grey", 3: "RGB"}.get(net.image[0], "the image")
    values = [*graph.input, *graph.output]
    integer = onnx.TensorProto.INT64
    if any(value.type.tensor_type.elem_type == integer for value in values):
        lines.append("pool-mask: switches, int64: a place's index in its plane")
    if raw and part != "decoder":
        lines.append(f"images as the network takes them: {net.pixels}")
    elif part != "decoder":
        lines.append(f"image: {order} in [0, 1]; the model brings it to {net.pixels}")
    if part != "encoder":
        order = order if not raw else "BGR" if net.image[0] == 3 else order
        what = "less the mean" if raw else "not cut off at 0 and 1"
        lines.append(f"reconstruction: {order} in [0, 1], {what}")
    with whole_file(out) as file:
        file.write(exported.SerializeToString())
        file.flush()
        del exported, graph  # the checker reads the file: half a gigabyte of VGG-16's
        onnx.checker.check_model(file.name, full_check=True)
    return lines


def _described(value) -> str:
    dimensions = value.type.tensor_type.shape.dim
    sizes = [d.dim_param or str(d.dim_value) for d in dimensions]
    return f"{value.name} ({'x'.join(sizes)})"
