"""What the generator tells a person: networks and variants, parameters, files."""

from collections.abc import Iterable
from pathlib import Path

from . import ladder, layout, names
from .decoder import Decoding, decoder
from .layers import shape_text
from .sequence import Network
from .small_networks import BUILT_IN
from .stages import Plan, plan
from .text import columns
from .variants import VARIANTS, Variant


def listing() -> str:
    """Returns the built-in networks and the variants, with what they are."""
    rows = []
    for network in BUILT_IN.values():
        image = shape_text(network.image.shape)
        classes, data = network.scores.shape[0], network.data.folder
        rows += [
            (network.name, network.title),
            ("", f"image {image}, {classes} classes, data in {data}"),
            ("", f"depths: {depth_names(network)}"),
        ]
    variants = [(variant.name, variant.title) for variant in VARIANTS.values()]
    return "\n".join(
        [
            "networks",
            columns(rows, "<", gap=" ", indent="  "),
            "variants",
            columns(variants, "<", indent="  "),
        ]
    )


def depth_names(network: Network) -> str:
    """Returns what each depth is called: 1 conv1_2, 2 conv2_2, ..."""
    trail = network.activations[1:]
    return ", ".join(f"{index} {a.name}" for index, a in enumerate(trail, start=1))


def summary(network: Network, variant: Variant, depth: int) -> str:
    """Returns a table of the macro-layers: their shapes, how many numbers each learns
    and, beside it, how many its decoder does, with a ladder's combinators."""
    trail = network.activations
    layers = plan(network, variant, depth).networks[0].layers
    encoder = {
        layer.name: layer.parameters
        for layer in layers
        if not layer.name.startswith(names.RESERVED)
    }
    decoders = decoder_parameters(network, variant, depth)
    rows = [["layer", "input", "output", "encoder", "decoder"]]
    for index, macro in enumerate(network.macro_layers, start=1):
        learnt = sum(encoder.get(layer.name, 0) for layer in macro.layers)
        rows.append(
            [
                f"{index} {macro.output.name}",
                shape_text(trail[index - 1].shape),
                shape_text(macro.output.shape),
                f"{learnt:,}",
                f"{decoders[index]:,}" if decoders.get(index) else "-",
            ]
        )
    sums = (sum(encoder.values()), sum(decoders.values()))
    rows.append(["parameters", "", "", *(f"{count:,}" for count in sums)])
    if not variant.has_decoder:
        rows = [row[:-1] for row in rows]
    title = f"{network.name}: {network.title}"
    return "\n".join([title, columns(rows, "<<<>", indent="  ")])


def decoder_parameters(
    network: Network, variant: Variant, depth: int
) -> dict[int, int]:
    """Returns macro-layer -> how many numbers its decoder learns; {} for none.

    What a ladder has above its first decoder, the deepest activation's combinator,
    counts with that decoder.
    """
    if not variant.has_decoder:
        return {}
    build = ladder.decoder if variant.ladder else decoder
    sections = build(network, variant, depth, Decoding(None))
    counts = [sum(la.parameters for la in section.layers) for section in sections]
    above = len(counts) - depth
    counts = [sum(counts[: above + 1]), *counts[above + 1 :]]
    return dict(zip(range(depth, 0, -1), counts, strict=True))


def file_list(plans: Iterable[Plan], out: Path) -> str:
    """Returns every file that was written, with what it is for."""
    rows: list[tuple[str, str]] = []
    manifests: dict[str, str] = {}
    for made in plans:
        rows += [(net.path, net.purpose) for net in made.networks]
        rows += [(solver.path, solver.purpose) for solver in made.solvers]
        path = layout.manifest_path(made.network.name)
        manifests[path] = "The manifest: by which command each was made."
    rows += manifests.items()
    return "\n".join([f"{len(rows)} files in {out}", columns(rows, "<", indent="  ")])
