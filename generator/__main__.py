"""python -m generator NET --variant VARIANT: networks and solvers, rendered."""

import argparse
import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from .derived import (
    base_lr_text,
    check_name,
    epochs_text,
    few_labels_name,
    parse_base_lr,
    parse_epochs,
    renamed,
    with_base_lr,
    with_epochs,
    with_few_labels,
)
from .describe import described
from .draw import draw
from .errors import UserError
from .files import project_root, render, write
from .given import GROUPS, Options, read_given
from .ladder import has_batch_norm
from .ladder import obstacle as ladder_obstacle
from .layers import Layer, number_text, shape_text
from .mirror import Decoding, decoder
from .networks import NETWORKS, find_network
from .rates import read_found
from .sequence import Network
from .source import exists as is_file_name
from .source import parse_shape
from .stages import Plan, plan
from .variants import VARIANTS, Variant, find_variant


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
        epilog="Examples: python -m generator vgg16 --variant swwae-all;"
        " python -m generator my/train_val.prototxt --describe",
    )
    parser.add_argument(
        "net",
        metavar="NET",
        nargs="?",
        help=f"{', '.join(NETWORKS)}, or the file of a Caffe network of your own",
    )
    parser.add_argument(
        "--variant",
        default="all",
        help=f"{', '.join(VARIANTS)}, or all of them (the default)",
    )
    parser.add_argument(
        "--depth",
        metavar="N",
        help="decode from macro-layer N (default: the last convolutional one), or all",
    )
    parser.add_argument(
        "--batch-norm",
        action="store_true",
        help="the ladder normalises, as in Rasmus et al. 2015; for networks that do",
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
        help="folder of the two LMDBs of a built-in network (see --list)",
    )
    parser.add_argument(
        "--mean-value",
        metavar="B,G,R",
        help="what is subtracted from the pixels (0 to 255) of a built-in network,"
        " one number a channel",
    )
    parser.add_argument(
        "--name",
        help="of the network's folders (default: its own, or the one in the file)",
    )
    parser.add_argument(
        "--epochs",
        metavar="STAGE=N,…",
        help="how long stages are, such as 0=10,4=2; the learning rate's steps move"
        " along",
    )
    parser.add_argument(
        "--base-lr",
        default="",
        metavar="STAGE=X,…",
        help="the solvers' base_lr, such as 2=2.5e-5,4=0.001; stage 2's decoders keep"
        " their multiples of it",
    )
    parser.add_argument(
        "--labels",
        type=int,
        metavar="N",
        help="train a built-in network with the labels of N images, and reconstruct all"
        " (data/few_labels.py makes the LMDBs)",
    )
    parser.add_argument(
        "--labels-seed",
        type=int,
        metavar="N",
        help="by which those images were drawn (default: 1)",
    )
    shown = parser.add_argument_group("instead of files")
    shown.add_argument(
        "--list", action="store_true", help="show networks and variants, and stop"
    )
    shown.add_argument(
        "--describe",
        action="store_true",
        help="a table of the network: shapes, parameters, multiply-adds, memory",
    )
    shown.add_argument(
        "--draw",
        type=Path,
        metavar="FILE.svg",
        help="a picture of the network, as the paper's Figures 1 and 2",
    )
    own = parser.add_argument_group("a network of your own")
    own.add_argument(
        "--image",
        metavar="CxHxW",
        help="the shape of an image, where neither file nor data tell",
    )
    own.add_argument(
        "--group",
        choices=GROUPS,
        default=GROUPS[0],
        help="a macro-layer ends behind a pooling (default) or every convolution",
    )
    own.add_argument(
        "--solver", type=Path, metavar="FILE", help="by which you train it: stage 0"
    )
    return parser


def generate(options: argparse.Namespace) -> None:
    """Renders and writes what the command line asks for, and tells what it was."""
    options.base_lr = parse_base_lr(options.base_lr)
    network = chosen_network(options)
    variants = chosen_variants(options, network)
    depths = chosen_depths(options, network, variants)
    if options.describe or options.draw:
        show(options, network, variants[0], depths[0])
        return
    out = project_root() if options.out is None else options.out
    found = read_found(out, network.name, network.max_depth)

    def trained(variant: Variant, depth: int) -> Network:
        """With the rates that were found, and rather those that are asked for."""
        best = found.applied(network, variant, depth)
        return with_base_lr(best, options.base_lr) if options.base_lr else best

    plans = [
        plan(trained(variant, depth), variant, depth)
        for depth in depths
        for variant in variants
        if variant.has_decoder or depth == network.depth
    ]
    if network.name not in NETWORKS:
        check_origin(network, out, options)
    texts = render(plans, data_options(options))
    write(texts, out)
    print(summary(network, depths[-1]))
    print(file_list(plans, out))
    if network.training is None:
        print("no solvers: no data layer of the file reads a data set to train with")


def data_options(options: argparse.Namespace) -> str:
    """The part of the command line that changed a built-in network's data."""
    text = f" --data {shlex.quote(options.data)}" if options.data else ""
    if options.mean_value:
        text += f" --mean-value {options.mean_value}"
    return text


def check_origin(network: Network, out: Path, options: argparse.Namespace) -> None:
    """Raises UserError where another file's network has the name already, or one that
    was made with other options from a built-in network, unless all its variants are
    made anew."""
    path, mark = network.source.partition(" --")[0], " --"
    if options.net in NETWORKS and options.variant != "all":
        path, mark = network.source, " --variant "
    for known in sorted((out / "models" / network.name).rglob("*.prototxt")):
        with known.open(encoding="utf-8", errors="replace") as file:
            head = file.readline()
        found = re.search(rf"python -m generator (.+?){mark}", head)
        if found and found[1] != path:
            raise UserError(
                f"{known.parent} was generated from {found[1]}, not from {path}; give"
                " --name NAME for another network, or remove the old one's folders."
            )


def chosen_network(options: argparse.Namespace) -> Network:
    """A built-in network, or the user's own, as the command line changes it."""
    network = base_network(options)
    changes = []
    if options.labels is not None:
        seed = 1 if options.labels_seed is None else options.labels_seed
        if seed < 0:
            raise UserError(f"--labels-seed {seed}: 0 or more.")
        name = options.name or few_labels_name(network, options.labels, seed)
        network = renamed(with_few_labels(network, options.labels, seed), name)
        changes.append(f"--labels {options.labels}")
        changes += [f"--labels-seed {seed}"] if seed != 1 else []
    elif options.labels_seed is not None:
        raise UserError("--labels-seed is for --labels N; give both.")
    if options.epochs is not None:
        epochs = parse_epochs(options.epochs)
        network = with_epochs(network, epochs)
        changes.append(f"--epochs {epochs_text(epochs)}")
    if options.base_lr:
        with_base_lr(network, options.base_lr)  # or it cannot be changed so
        changes.append(f"--base-lr {base_lr_text(options.base_lr)}")
    if options.name is not None and options.net in NETWORKS:
        check_name(options.name, NETWORKS)
        network = renamed(network, options.name) if not options.labels else network
        changes.append(f"--name {options.name}")
    return replace(network, source=" ".join([network.source, *changes]))


def base_network(options: argparse.Namespace) -> Network:
    """A built-in network with other data, or the user's own."""
    own = {
        "--image": options.image,
        "--group": options.group if options.group != GROUPS[0] else None,
        "--solver": options.solver,
    }
    if is_file_name(options.net) and options.net not in NETWORKS:
        for option, value in (
            ("--data", options.data),
            ("--mean-value", options.mean_value),
        ):
            if value is not None:
                raise UserError(
                    f"{option} is for built-in networks: the data layers of your own"
                    " file stay as they are."
                )
        image = parse_shape(options.image) if options.image is not None else None
        return read_given(
            Path(options.net),
            Options(options.name, image, options.group, options.solver),
        )
    network = find_network(options.net)
    for option, value in own.items():
        if value is not None:
            raise UserError(
                f"{option} is for a network file of your own; {network.name} is built"
                " in."
            )
    if options.data is not None:
        if not options.data.isprintable() or not options.data:
            raise UserError("--data: a folder's name, in printable characters.")
        network = replace(network, data=replace(network.data, folder=options.data))
    if options.mean_value is not None:
        mean = parse_mean(options.mean_value, network)
        network = replace(network, data=replace(network.data, mean_value=mean))
    return network


def parse_mean(text: str, network: Network) -> tuple[float, ...]:
    """(103.53, 116.28, 123.675) from 103.53,116.28,123.675: one number a channel, in
    the channels' order (BGR); raises UserError for anything else."""
    channels = network.image.shape[0]
    number = r"[0-9]{1,3}(\.[0-9]{1,6})?"
    if re.fullmatch(rf"{number}(,{number}){{{channels - 1}}}", text):
        mean = tuple(map(float, text.split(",")))
        if max(mean) <= 255:
            return mean
    wanted = "blue, green and red" if channels == 3 else f"{channels} of them"
    raise UserError(
        f"--mean-value {text}: expected numbers from 0 to 255, separated by commas,"
        f" {wanted}, such as {','.join(map(number_text, network.data.mean_value))}."
    )


def chosen_variants(options: argparse.Namespace, network: Network) -> list[Variant]:
    """The variant asked for and the one that has its stages 1 and 2, or all that the
    network can have."""
    problem = ladder_obstacle(network)
    if options.variant == "all":
        variants = [v for v in VARIANTS.values() if not (v.ladder and problem)]
    else:
        variants = [find_variant(options.variant)]
        if variants[0].ladder and problem:
            raise UserError(
                f"--variant ladder: {network.name} can have none, as {problem}."
            )
        if variants[0].layerwise is not variants[0]:
            variants.append(variants[0].layerwise)
        if network.name not in NETWORKS and variants[0].has_decoder:
            variants.append(VARIANTS["baseline"])  # has stage 0
    if not options.batch_norm:
        return variants
    if not any(variant.ladder for variant in variants):
        raise UserError("--batch-norm is for --variant ladder.")
    if not has_batch_norm(network):
        raise UserError(
            f"--batch-norm: {network.name} has no BatchNorm layer to add noise behind;"
            " leave the option out, as the paper does (A2.4)."
        )
    return [
        replace(variant, batch_norm=True) if variant.ladder else variant
        for variant in variants
    ]


def chosen_depths(
    options: argparse.Namespace, network: Network, variants: list[Variant]
) -> list[int]:
    """One depth, or all that there are; UserError where it cannot be decoded from."""
    if options.depth == "all":
        return list(range(1, network.max_depth + 1))
    if options.depth is None:
        if options.describe or options.draw:
            return [network.depth]
        if network.limit and any(variant.has_decoder for variant in variants):
            raise UserError(f"{options.net}: {network.limit}.")
        return [network.depth]
    if not re.fullmatch(r"-?[0-9]{1,9}", options.depth):
        raise UserError(f"--depth {options.depth}: a number, or all.")
    depth = int(options.depth)
    if not 1 <= depth <= network.max_depth:
        limit = (
            f" {network.limit[0].upper()}{network.limit[1:]}." if network.limit else ""
        )
        raise UserError(
            f"--depth {depth}: {network.name} can be decoded from 1 to"
            f" {network.max_depth}: {depth_names(network)}.{limit}"
        )
    if depth != network.depth and not any(v.has_decoder for v in variants):
        raise UserError("--depth: the baseline has no decoder; leave it out.")
    return [depth]


def show(
    options: argparse.Namespace, network: Network, variant: Variant, depth: int
) -> None:
    """The table, the picture, or both."""
    if options.variant == "all":
        variant = VARIANTS["swwae-all"]
    if options.describe:
        print(described(network, variant, depth))
    if options.draw:
        draw(network, variant, depth, options.draw)
        print(f"{options.draw}: {network.name} {variant.name}, decoded from {depth}")


def depth_names(network: Network) -> str:
    """1 conv1_2, 2 conv2_2, ...: what each depth is called."""
    trail = network.activations[1:]
    return ", ".join(f"{index} {a.name}" for index, a in enumerate(trail, start=1))


def listing() -> str:
    """Networks and variants, for a person."""
    lines = ["networks"]
    for network in NETWORKS.values():
        image = shape_text(network.image.shape)
        lines.append(f"  {network.name:12}{network.title}")
        lines.append(
            f"  {'':12}image {image}, {network.scores.shape[0]} classes,"
            f" data in {network.data.folder}"
        )
        lines.append(f"  {'':12}depths: {depth_names(network)}")
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
    rows.append(("parameters", "", "", f"{sum(encoder.values()):,}", f"{decoder:,}"))
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
