"""Which networks there are, how deep they are, and by what command they are made."""

from contextlib import suppress
from numbers import Integral

import generator
from generator import layout, manifest
from generator.errors import UserError, lookup
from generator.manifest import Manifest
from generator.networks import NETWORKS
from generator.recipe import MADE_ON_REQUEST
from generator.small_networks import SMALL
from swwae.base import project


def depths(net: str) -> tuple[int | None, int | None]:
    """Returns a network's default decoding depth and its largest, where they are known.

    Raises UserError where a user's network has lost its manifest.
    """
    if net in NETWORKS:
        return NETWORKS[net].depth, NETWORKS[net].max_depth
    known = _manifest(net)
    return (known.depth, known.max_depth) if known else (None, None)


def generator_command(net: str, variant: str, depth: int | None) -> str:
    """Returns the command line that makes a variant's networks and solvers, or made
    them; depth: None for the default one."""
    known = _manifest(net)
    made = known.entry(variant, depth) if known else None
    if made:
        return f".venv/bin/{made.command}"
    source = known.made[0].source if known and known.made else net
    shown = "" if depth is None else f" --depth {depth}"
    return f".venv/bin/{manifest.PROGRAM} {source} --variant {variant}{shown}"


def _manifest(net: str) -> Manifest | None:
    """Returns a network's manifest; a built-in one does without a damaged one."""
    try:
        return manifest.read(project.ROOT, net)
    except UserError:
        if net in NETWORKS:
            return None
        raise


def make_on_request(net: str, variant: str, depth: int | None) -> None:
    """Generates a built-in network's variant that is not kept in models/, where that
    has not been done, or by another command than the manifest has now; where it cannot
    be, its files stay as they are.

    depth: None for the default one, the others being made by the generator alone.
    """
    if net not in NETWORKS or variant not in MADE_ON_REQUEST or depth is not None:
        return
    last = project.ROOT / layout.solver_path(layout.place(net, variant, None), 4)
    known = _manifest(net)
    entry = known.entry(variant) if known else None
    if not last.exists() or (entry and manifest.command_of(last) != entry.command):
        with suppress(UserError):
            generator.generate(net, variant, out=project.ROOT)


def known_nets() -> list[str]:
    """Returns the built-in networks, then those generated from a network file."""
    models = project.ROOT / layout.MODELS
    generated = sorted(p.name for p in models.iterdir()) if models.is_dir() else []
    return list(dict.fromkeys([*NETWORKS, *generated]))


def check_net(net: str) -> None:
    """Raises UserError, naming the known ones and the nearest, for an unknown one; and
    for a built-in one that is not kept in models/ and was not generated yet."""
    known = known_nets()
    if net in SMALL and net not in known:
        raise UserError(
            f"{net} has not been generated yet: run .venv/bin/{manifest.PROGRAM} {net}"
        )
    lookup("network", net, dict.fromkeys(known))


def check_depth(net: str, depth: int | None) -> None:
    """Raises UserError for a depth that the network does not have."""
    if depth is None:
        return
    if not isinstance(depth, Integral):
        raise UserError(f"the depth {depth!r} is no whole number.")
    _, deepest = depths(net)
    if depth < 1 or (deepest is not None and depth > deepest):
        range_text = "from 1" if deepest is None else f"from 1 to {deepest}"
        raise UserError(f"--depth {depth}: {net} can be decoded {range_text}.")
