"""Weights of torchvision's layout, or of any Caffe, for one of the networks here.

A state dict (.safetensors, or what torch.save wrote, such as .pth, .pth.tar and .bin;
the content tells, not the name) is matched layer by layer: convolutions, batch
normalisations and inner products, each in order, or by name where it was exported here.
Its first layer is made to read this network's pixels (BGR in 0..255 less mean_value)
instead of normalised RGB. A .caffemodel, old formats included, is copied by name.
"""

import argparse
from pathlib import Path

from swwae.base import files
from swwae.base.project import relative
from swwae.commands.normalisation_options import (
    add_normalisation_arguments,
    any_normalisation_argument,
    normalisation,
)
from swwae.exchange.importing import import_weights
from swwae.nets import weight_files, weights
from swwae.nets.deployed import deployed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a state dict: .safetensors, .pth, .pth.tar, …; or a .caffemodel",
    )
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", default="baseline", help="default: %(default)s")
    parser.add_argument("--depth", type=int, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.caffemodel")
    add_normalisation_arguments(parser)
    options = parser.parse_args()
    caffemodel = weight_files.kind(options.file) == weight_files.CAFFE
    if caffemodel and any_normalisation_argument(options):
        parser.error(
            "--mean, --std, --rgb and --bgr are for state dicts; a .caffemodel is"
            " copied as it is"
        )
    if options.out.suffix != ".caffemodel":
        parser.error(f"--out {options.out}: the weights are a .caffemodel")
    files.check_writable(options.out)
    net = deployed(options.net, options.variant, options.depth)
    print(f"reading {relative(options.file)} for {net.path}", flush=True)
    pixels = None if caffemodel else normalisation(options, net)
    result, lines = import_weights(options.file, net, pixels)
    written = [layer.name for layer in result.layer]
    total = weights.count(s for name in written for s in net.parameters[name])
    weights.save(result, options.out)
    print(f"{relative(options.out)}: {len(written)} layers, {total:,} parameters")
    for line in lines:
        print(f"  {line}")
    return 0
