"""Weights of a network here for other programs: .safetensors, or a model as .onnx.

.safetensors: torchvision's names and normalisation where torchvision has the network
(vgg16, vgg16_bn, alexnet_owt), else the layers' own names (conv1_1.weight).
.onnx: image -> probabilities (encoder), what the decoder reads -> reconstruction
(decoder), or image -> probabilities and reconstruction (both).
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
from swwae.exchange.folding import Fold, first_layer, fold
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
    """The network with its weights; raises UserError as `check_weights` does."""
    check_weights(net, file)
    caffe.set_mode_cpu()
    with net.file() as path:
        return caffe.Net(str(path), caffe.TEST, weights=str(file))


def state_dict(
    net: Deployed, blobs: Blobs, part: str, pixels: Normalisation
) -> tuple[Tensors, Fold | None]:
    """The parameters of a part as torch names them, for images normalised as `pixels`.

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
    """Writes a state dict; what is to be said of it."""
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
        lines.append(border_remark(folded, net))
    if part != "encoder":
        order = "BGR " if net.image[0] == 3 else ""
        lines.append(f"dec:data: {order}in units of [0, 1], less the mean, as here")
    return lines


def border_remark(fold_: Fold, net: Deployed) -> str:
    """What the fold leaves at the border, and the option that leaves nothing."""
    if not fold_.border:
        return "exact everywhere, the zero padding at the border included"
    mean = numbers(net.pixels.reordered(False).mean)
    return (
        f"exact inside; where the window of {fold_.layer} reaches into the zero padding"
        f" its outputs differ by up to {fold_.border:.2g}, as the means do; exact with"
        f" --mean {mean}, for images normalised with that mean"
    )


def export_onnx(
    net: Deployed, built: caffe.Net, part: str, raw: bool, out: Path
) -> list[str]:
    """Writes a model that onnx.checker has accepted; what is to be said of it."""
    import onnx

    from swwae.exchange.onnx_graph import Source, model

    made = model(source(net, built, Source), part, None if raw else net.pixels)
    lines = [
        f"{kind}: " + ", ".join(_described(value) for value in values)
        for kind, values in (("takes", made.graph.input), ("yields", made.graph.output))
    ]
    order = {1: "grey", 3: "RGB"}.get(net.image[0], "the image")
    values = [*made.graph.input, *made.graph.output]
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
        file.write(made.SerializeToString())
        file.flush()
        del made  # the checker reads the file: half a gigabyte of VGG-16's
        onnx.checker.check_model(file.name, full_check=True)
    return lines


def source(net: Deployed, built: caffe.Net, kind: type):
    """A network that Caffe has built, as onnx_graph.Source (kind).

    Raises UserError where it yields no class probabilities.
    """
    present = set(built._layer_names)
    outputs = list(built.outputs)
    reconstruction = f"{DECODER}{net.blob}"
    others = [name for name in outputs if not name.startswith(DECODER)]
    if "prob" not in outputs and len(others) != 1:
        raise UserError(
            f"{net.net} has no class probabilities: {net.path} yields"
            f" {', '.join(outputs)}, and none is called 'prob'."
        )
    return kind(
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


def _described(value) -> str:
    dimensions = value.type.tensor_type.shape.dim
    sizes = [d.dim_param or str(d.dim_value) for d in dimensions]
    return f"{value.name} ({'x'.join(sizes)})"
