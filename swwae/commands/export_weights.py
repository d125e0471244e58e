"""Weights of a network here for other programs: .safetensors, or a model as .onnx.

.safetensors: torchvision's names and normalisation where torchvision has the network
(vgg16, vgg16_bn, alexnet_owt), else the layers' own names (conv1_1.weight).
.onnx: image -> probabilities (encoder), what the decoder reads -> reconstruction
(decoder), or image -> probabilities and reconstruction (both).
"""

import argparse
import importlib.util
from pathlib import Path

from generator.errors import UserError
from swwae.base import files
from swwae.base.project import relative
from swwae.commands.normalisation_options import (
    add_normalisation_arguments,
    any_normalisation_argument,
    normalisation,
)
from swwae.exchange.exporting import export_onnx, export_safetensors, load
from swwae.nets.deployed import deployed

PARTS = ("encoder", "decoder", "both")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE.caffemodel")
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", default="baseline", help="default: %(default)s")
    parser.add_argument("--depth", type=int, metavar="N")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.safetensors|FILE.onnx"
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        help="default: the encoder for .safetensors, all that there is for .onnx",
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help=".onnx: takes mean-subtracted BGR in 0..255, as the network does, instead"
        " of RGB in [0, 1]",
    )
    add_normalisation_arguments(parser)
    options = parser.parse_args()
    kind = options.out.suffix
    if kind not in (".safetensors", ".onnx"):
        parser.error(f"--out {options.out}: a .safetensors or an .onnx is expected")
    if options.raw and kind != ".onnx":
        parser.error("--raw is for .onnx")
    if kind == ".onnx" and any_normalisation_argument(options):
        parser.error("--mean, --std, --rgb and --bgr are for .safetensors")
    if kind == ".onnx" and importlib.util.find_spec("onnx") is None:
        raise UserError(
            "a .onnx is written with onnx, which is not installed: run"
            " .venv/bin/pip install -e '.[onnx]'"
        )
    files.check_writable(options.out)
    net = deployed(options.net, options.variant, options.depth)
    part = options.part
    if part is None:
        part = "both" if net.has_decoder and kind == ".onnx" else "encoder"
    if part != "encoder" and not net.has_decoder:
        raise UserError(
            f"--part {part}: {net.variant} has no decoder; name another --variant."
        )
    print(f"reading {relative(options.file)} for {net.path}", flush=True)
    pixels = normalisation(options, net)
    built = load(net, options.file)
    if kind == ".onnx":
        lines = export_onnx(net, built, part, options.raw, options.out)
    else:
        lines = export_safetensors(net, built, part, pixels, options.out)
    print(f"{relative(options.out)}: {part} of {net.net} {net.variant}")
    for line in lines:
        print(f"  {line}")
    return 0
