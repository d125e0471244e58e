"""Where things go: every path below models/ and solvers/, relative to the root.

    models/<net>/network.json                              the manifest
    models/<net>/<variant>[/depth<N>]/<kind>.prototxt      networks
    solvers/<net>/<variant>[/depth<N>]/stage<k>.prototxt   solvers
    solvers/<net>/rates.json                               rates that trials have found

The folders below runs/ are named alike.
"""

MODELS, SOLVERS = "models", "solvers"
MANIFEST = "network.json"


def place(net: str, variant: str, depth: int | None) -> str:
    """Returns <net>/<variant>, with depth<N> below it; depth: None for the network's
    default one."""
    base = f"{net}/{variant}"
    return base if depth is None else f"{base}/depth{depth}"


def network_path(place: str, kind: str) -> str:
    """Returns the path of a network file; kind: as train_val (see `names`)."""
    return f"{MODELS}/{place}/{kind}.prototxt"


def solver_path(place: str, stage: int) -> str:
    """Returns the path of a stage's solver."""
    return f"{SOLVERS}/{place}/stage{stage}.prototxt"


def manifest_path(net: str) -> str:
    """Returns the path of a network's manifest."""
    return f"{MODELS}/{net}/{MANIFEST}"


def rates_path(net: str) -> str:
    """Returns the path of what trials have found for a network."""
    return f"{SOLVERS}/{net}/rates.json"
