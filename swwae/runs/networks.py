"""Where runs live, what precedes what, and what is known about a run.

A run is one stage of one network and variant:

    runs/<net>/<variant>[/depth<N>]/stage<k>/
        train.log  solver.prototxt  snapshot_iter_*  final.caffemodel  status.json

Stage 0 belongs to the baseline, and stages 1 and 2 to the family: `swwae-first` and
`swwae-all` share those of `swwae-layerwise`. `Run` settles that, so that two names of
the same run are equal. This is the one place for these paths.
"""

import re

from generator.errors import UserError
from generator.networks import NETWORKS, lookup
from swwae.base import project


def depths(net: str) -> tuple[int | None, int | None]:
    """A network's default decoding depth and its largest, as far as they are known."""
    if net in NETWORKS:
        return NETWORKS[net].depth, NETWORKS[net].max_depth
    found = _in_head(net, r"default depth (\d+) of (\d+)$")
    return (int(found[1]), int(found[2])) if found else (None, None)


def _in_head(net: str, pattern: str) -> re.Match | None:
    """What the first lines of a user's generated networks say."""
    for path in sorted((project.ROOT / "models" / net).rglob("*.prototxt")):
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.readline() + file.readline()
        if match := re.search(pattern, head, re.MULTILINE):
            return match
    return None


def _source(net: str) -> str:
    """The generator's argument behind a network: its name, or a user's own file."""
    if net in NETWORKS:
        return net
    found = _in_head(net, r"python -m generator (.+?) --variant ")
    return found[1] if found else net


def known_nets() -> list[str]:
    """Built-in networks, then those that were generated from a network file."""
    models = project.ROOT / "models"
    generated = sorted(p.name for p in models.iterdir()) if models.is_dir() else []
    return list(dict.fromkeys([*NETWORKS, *generated]))


def check_net(net: str) -> None:
    """Raises UserError, naming the known ones and the nearest, for an unknown one."""
    lookup("network", net, dict.fromkeys(known_nets()) | NETWORKS)


def check_depth(net: str, depth: int | None) -> None:
    """Raises UserError for a depth that the network does not have."""
    if depth is None:
        return
    _, deepest = depths(net)
    if depth < 1 or (deepest is not None and depth > deepest):
        range_text = "from 1" if deepest is None else f"from 1 to {deepest}"
        raise UserError(f"--depth {depth}: {net} can be decoded {range_text}.")
