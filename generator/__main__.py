"""python -m generator NET --variant VARIANT: networks and solvers, rendered."""

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from .errors import UserError
from .files import project_root, render, write
from .layers import Layer, shape_text
from .mirror import Decoding, decoder
from .networks import NETWORKS, find_network
from .sequence import Network
from .stages import Plan, plan
from .variants import VARIANTS, find_variant


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code. A reader that has gone away ends it silently."""
    try:
        code = command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\ngenerator: interrupted; nothing was changed", file=sys.stderr)
        return 130
    return code


def command(arguments: list[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(listing())
        return 0
    if options.net is None:
        parser.error("which network? `python -m generator --list` shows them")
    try:
        generate(options)
    except UserError as error:
        print(f"generator: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator",
        description="Renders a classification network augmented with a mirrored"
        " decoder (Zhang, Lee & Lee, ICML 2016), and the solver of each training"
        " stage, as Caffe prototxts.",
        epilog="Example: python -m generator vgg16 --variant swwae-all",
    )
    parser.add_argument("net", metavar="NET", nargs="?", help=f"{', '.join(NETWORKS)}")
    parser.add_argument(
        "--variant",
        default="all",
        help=f"{', '.join(VARIANTS)}, or all of them (the default)",
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="decode from macro-layer N (default: the last convolutional one)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where models/ and solvers/ go (default: the project's folder)",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the two LMDBs (default: data/<set>, see --list)",
    )
    parser.add_argument(
        "--list", action="store_true", help="show networks and variants, and stop"
    )
    return parser


def generate(options: argparse.Namespace) -> None:
    """Renders and writes what the command line asks for, and tells what it was."""
    network = find_network(options.net)
    if options.variant == "all":
        variants = list(VARIANTS.values())
    else:
        variants = [find_variant(options.variant)]
        if variants[0].layerwise is not variants[0]:
            variants.append(variants[0].layerwise)  # has the family's stages 1 and 2
    depth = network.depth if options.depth is None else options.depth
    if not 1 <= depth <= network.max_depth:
        raise UserError(
            f"--depth {depth}: {network.name} can be decoded from 1 to"
            f" {network.max_depth}: {depth_names(network)}."
        )
    data_option = ""
    if options.data is not None:
        network = replace(network, data=replace(network.data, folder=options.data))
        if not options.data.isprintable() or not options.data:
            raise UserError("--data: a folder's name, in printable characters.")
        data_option = f" --data {shlex.quote(options.data)}"
    if depth != network.depth:
        variants = [variant for variant in variants if variant.has_decoder]
        if not variants:
            raise UserError("--depth: the baseline has no decoder; leave it out.")
    plans = [plan(network, variant, depth) for variant in variants]
    out = project_root() if options.out is None else options.out
    texts = render(plans, data_option)
    write(texts, out)
    print(summary(network, depth))
    print(file_list(plans, out))


def depth_names(network: Network) -> str:
    """1 conv1_2, 2 conv2_2, ...: what each depth is called."""
    trail = network.activations[1:]
    return ", ".join(f"{index} {a.name}" for index, a in enumerate(trail, start=1))


def listing() -> str:
    """Networks and variants, for a person."""
    lines = ["networks"]
    for network in NETWORKS.values():
        image = shape_text(network.image.shape)
        lines.append(f"  {network.name:8}{network.title}")
        lines.append(
            f"  {'':8}image {image}, {network.scores.shape[0]} classes,"
            f" data in {network.data.folder}"
        )
        lines.append(f"  {'':8}depths: {depth_names(network)}")
    lines.append("variants")
    width = max(map(len, VARIANTS)) + 2
    lines += [f"  {v.name:{width}}{v.title}" for v in VARIANTS.values()]
    return "\n".join(lines)


def summary(network: Network, depth: int) -> str:
    """Macro-layers with shapes and parameters, encoder and decoder side by side."""
    trail = network.activations
    layers = plan(network, VARIANTS["swwae-all"], depth).networks[0].layers
    rows = [("layer", "input", "output", "encoder", "decoder")]
    encoder = {la.name: la.parameters for la in layers if not _decodes(la)}
    decoder = sum(layer.parameters for layer in layers if _decodes(layer))
    decoders = decoder_parameters(network, depth)
    for index, macro in enumerate(network.macro_layers, start=1):
        here = macro.output
        decoded = decoders.get(index)
        rows.append(
            (
                f"{index} {here.name}",
                shape_text(trail[index - 1].shape),
                shape_text(here.shape),
                f"{sum(encoder.get(la.name, 0) for la in macro.layers):,}",
                f"{decoded:,}" if decoded else "-",
            )
        )
    rows.append(
        ("parameters", "", "", f"{sum(encoder.values()):,}", f"{decoder:,}")
    )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{network.name}: {network.title}"]
    for row in rows:
        left = "  ".join(row[c].ljust(widths[c]) for c in range(3))
        right = "  ".join(row[c].rjust(widths[c]) for c in range(3, 5))
        lines.append(f"  {left}  {right}")
    return "\n".join(lines)


def _decodes(layer: Layer) -> bool:
    return layer.name.startswith("dec:")


def decoder_parameters(network: Network, depth: int) -> dict[int, int]:
    """Macro-layer -> how many numbers its decoder learns."""
    sections = decoder(network, VARIANTS["swwae-all"], depth, Decoding(None))
    counts = (sum(la.parameters for la in section.layers) for section in sections)
    return dict(zip(range(depth, 0, -1), counts, strict=True))


def file_list(plans: list[Plan], out: Path) -> str:
    """Every file that was written, with what it is for."""
    rows = []
    for p in plans:
        rows += [(net.path, net.purpose) for net in p.networks]
        rows += [(solver.path, solver.purpose) for solver in p.solvers]
    width = max(len(path) for path, _ in rows)
    lines = [f"{len(rows)} files in {out}"]
    lines += [f"  {path:{width}}  {purpose}" for path, purpose in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
