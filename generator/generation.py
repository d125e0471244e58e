"""From a request to files: plans them, renders them, writes all of them or none."""

from dataclasses import dataclass
from pathlib import Path

from . import layout, manifest
from .data_labels import check_channels, check_labels
from .derived import with_base_lr
from .describe import described
from .draw import draw
from .files import one_writer, project_root, render, write
from .networks import NETWORKS
from .rates import read_rates
from .request import (
    Request,
    requested_depths,
    requested_network,
    requested_variants,
    shown_variant,
)
from .sequence import Network
from .stages import Plan, plan
from .variants import Variant


@dataclass(frozen=True)
class Generated:
    """What was written. shown, depth: whose figures stand for all of it; out: the
    folder that models/ and solvers/ are in; paths: below it, of every file."""

    network: Network
    shown: Variant
    depth: int
    plans: list[Plan]
    out: Path
    paths: list[str]


def generate(request: Request, out: Path | None = None) -> Generated:
    """Renders and writes what is asked for, and its manifest.

    out: where models/ and solvers/ go; None: the project's folder. Raises UserError,
    and leaves everything as it was, where that cannot be done.
    """
    left_out = request.left_out
    network = requested_network(request)
    variants = requested_variants(request, network)
    depths = requested_depths(request, network, variants)
    out = project_root() if out is None else out
    found = read_rates(out, network.name, network.max_depth)

    def trained(variant: Variant, depth: int) -> Network:
        """Returns the network with the rates that were found, or those that are asked
        for."""
        best = found.applied(network, variant, depth)
        return with_base_lr(best, request.base_lrs) if request.base_lrs else best

    plans = [
        plan(trained(variant, depth), variant, depth).without(left_out)
        for depth in depths
        for variant in variants
        if variant.has_decoder or depth == network.depth
    ]
    check_labels(plans)
    check_channels(plans)
    texts = render(plans, request.data_options)
    path = layout.manifest_path(network.name)
    with one_writer(out):
        if network.name not in NETWORKS:
            same_options = request.built_in and request.variant != "all"
            manifest.check_origin(out, plans, same_options)
        texts[path] = manifest.updated(out, plans, request.data_options).text()
        write(texts, out)
    shown = shown_variant(request, variants)
    return Generated(network, shown, depths[-1], plans, out, list(texts))


def describe(request: Request) -> str:
    """Returns the table of the network that is asked for; raises UserError."""
    return described(*_shown(request))


def draw_to(request: Request, path: Path) -> str:
    """Draws the network that is asked for and returns what was drawn, in a line; raises
    UserError where it cannot be."""
    network, variant, depth = _shown(request)
    draw(network, variant, depth, path)
    return f"{path}: {network.name} {variant.name}, decoded from {depth}"


def _shown(request: Request) -> tuple[Network, Variant, int]:
    network = requested_network(request)
    variants = requested_variants(request, network)
    depth = network.depth
    if request.depth is not None:
        depth = requested_depths(request, network, variants)[0]
    return network, shown_variant(request, variants), depth
