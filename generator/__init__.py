"""Renders augmented Caffe networks and the solvers of their training stages.

From a notebook: `generate` writes them, `network_names` and `variant_names` tell what
there is, `describe_network` returns a table and `draw_network` a picture. The command
line is `python -m generator`.

Read in this order: `paper` (the figures it all rests on) and `recipe` (the stages),
`names` and `layout` (of layers and files), `layers`, `shapes` and `sequence` (what a
network is made of), `networks` (the built-in ones) and `user_network` (a user's, with
`schema`, `staged`, `source`, `data_sources`, `chain`), `variants` (how they are
augmented), `mirror`, `encoder`, `decoder` and `ladder`, `stages` (which network each
stage trains) with `inference` and `solvers`, `files` and `manifest` (where they go);
`describe` and `draw` show a network; `request` and `generation` are what the command
calls; `caffe_build` finds the patched Caffe, `text_files` reads what people have
written, `plotting` imports matplotlib.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

__all__ = [
    "describe_network",
    "draw_network",
    "generate",
    "network_names",
    "variant_names",
]


def network_names() -> list[str]:
    """Returns the names of the built-in networks."""
    from .small_networks import BUILT_IN

    return list(BUILT_IN)


def variant_names() -> list[str]:
    """Returns the names of the variants, the baseline among them (Section 3.2)."""
    from .variants import VARIANTS

    return list(VARIANTS)


def generate(
    net: str | Path,
    variant: str = "all",
    depth: int | Literal["all"] | None = None,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    data: str | None = None,
    mean_value: Sequence[float] | None = None,
    images: Sequence[int] | None = None,
    classes: int | None = None,
    epochs: Mapping[int, float] | None = None,
    base_lr: Mapping[int, float] | None = None,
    labels: int | None = None,
    labels_seed: int | None = None,
    image: Sequence[int] | None = None,
    group: str = "pooling",
    solver: str | Path | None = None,
    batch_norm: bool = False,
    also: Sequence[str] = (),
) -> list[Path]:
    """Writes networks and solvers, and returns their paths and the manifest's.

    net: a built-in network (`network_names`), or the path of a Caffe network file.
    variant: one of `variant_names`, with those that its first stages belong to; or all.
    depth: the macro-layer that is decoded from; None: the last convolutional one.
    out: the folder that models/ and solvers/ go to; None: the project's.
    name: of the network's folders, if not its own.
    data, mean_value: a built-in network's folder of LMDBs, and what is subtracted from
        the pixels (0 to 255; a number a channel, BGR). images: how many a built-in
        network trains with, and is tested on. classes: how many it scores.
    epochs, base_lr: by stage (0, 2, 3, 4). labels, labels_seed: how many training
        images of a built-in network have a label, and how they are drawn.
    image, group, solver: of a network file: the shape of an image (C, H, W), where a
        macro-layer ends ("pooling" or "layer"), the file of stage 0's solver.
    batch_norm: the ladder normalises. also: "dump", "reconstruct", or both.

    Raises `errors.UserError`, a sentence, and leaves everything as it was, where that
    cannot be done.
    """
    from . import generation
    from .layers import number_text, shape_text
    from .request import Request

    def by_stage(values: Mapping[int, float] | None) -> str | None:
        if not values:
            return None
        return ",".join(f"{k}={number_text(value)}" for k, value in values.items())

    request = Request(
        net=str(net),
        variant=variant,
        depth=None if depth is None else str(depth),
        batch_norm=batch_norm,
        data=data,
        mean_value=(
            None if mean_value is None else ",".join(map(number_text, mean_value))
        ),
        images=None if images is None else ",".join(map(str, images)),
        classes=classes,
        name=name,
        epochs=by_stage(epochs),
        base_lr=by_stage(base_lr) or "",
        labels=labels,
        labels_seed=labels_seed,
        image=None if image is None else shape_text(tuple(image)),
        group=group,
        solver=None if solver is None else Path(solver),
        also=",".join(also),
    )
    done = generation.generate(request, None if out is None else Path(out))
    return [done.out / path for path in done.paths]


def describe_network(
    net: str | Path, variant: str = "swwae-all", depth: int | None = None
) -> str:
    """Returns a table of a variant's training network: shapes, parameters,
    multiply-adds, memory and receptive fields, for one image.

    net, depth: as in `generate`. Raises `errors.UserError` as that does.
    """
    from . import generation
    from .request import Request

    text = None if depth is None else str(depth)
    return generation.describe(Request(str(net), variant, text))


def draw_network(
    net: str | Path,
    path: str | Path,
    variant: str = "swwae-all",
    depth: int | None = None,
) -> Path:
    """Draws a variant as the paper's Figures 1 and 2, and returns the picture's path.

    path: an .svg, .png or .pdf. net, depth: as in `generate`. Raises `errors.UserError`
    as that does, and where the file cannot be written.
    """
    from . import generation
    from .request import Request

    text = None if depth is None else str(depth)
    generation.draw_to(Request(str(net), variant, text), Path(path))
    return Path(path)
