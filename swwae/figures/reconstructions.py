"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5).

At the right of a row: the mean of ||x^ - x||^2 over its images, pixels in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from generator.errors import UserError
from generator.names import DECODER
from generator.networks import NETWORKS
from generator.variants import find_variant
from swwae.base import project
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import reconstruct
from swwae.figures import style
from swwae.images import grid
from swwae.nets import network
from swwae.runs import folders, networks
from swwae.runs.run import Run

POINTS_PER_INCH = 72


AIR = 10  # points beside a text


ERROR = "mean ‖x̂−x‖²"


@dataclass(frozen=True)
class Row:
    """What a model made of the images, uint8 (C, H, W); error: the mean over them."""

    label: str
    images: list[np.ndarray]
    error: float


def decoding_stage(folder: Path) -> Run:
    """The newest finished stage of a run that trained its variant's own decoder.

    A stage's folder stands for that stage alone. Raises UserError where there is none.
    """
    known = folders.stages_in(folder)[0]
    stage = style.named_stage(folder)
    place = folder.absolute() if stage is None else folder.absolute().parent
    depth = None
    if place.name.startswith("depth"):
        depth, place = int(place.name.removeprefix("depth")), place.parent
    shown, variant = project.relative(folder), find_variant(place.name)
    if not variant.has_decoder:
        raise UserError(
            f"{shown}: {variant.name} has no decoder; choose sae-* or swwae-*."
        )
    own = [Run(known.net, variant.name, 4, depth, known.root)]
    while (previous := own[-1].previous).stage > 1 and previous.variant == variant.name:
        own.append(previous)
    chosen = [run_ for run_ in own if stage in (None, run_.stage)]
    if not chosen:
        stages = " and ".join(str(run_.stage) for run_ in own)
        raise UserError(
            f"{shown}: stage {stage} trains no decoder of {variant.name}; its stages"
            f" {stages} do."
        )
    for run_ in chosen:
        if run_.is_finished():
            return run_
    newest = next((run_ for run_ in chosen if run_.status()), chosen[-1])
    raise UserError(f"{newest.title} {_progress(newest)}; run {newest.command}")


def _progress(run_: Run) -> str:
    status = run_.status()
    if not status:
        return "has not been run"
    return f"is {status['state']} at iteration {status['iterations']:,}"


def depths_of(run_: Run, wanted: Sequence[int] | None) -> list[int | None]:
    """The depths that a run's decoder serves, of those wanted (None: all it was made
    for), the shallowest first. Those that it does not serve are named on stderr.

    A stacked decoder serves its depth and all below. A layerwise one serves depth 1: it
    inverts each macro-layer alone. None in the list: the run's own, where its number is
    not known.
    """
    stacked = find_variant(run_.variant).stacked
    deepest = (run_.depth or networks.depths(run_.net)[0]) if stacked else 1
    if deepest is None:
        return [None]
    if wanted is None:
        return list(range(1, deepest + 1))
    for depth in sorted(set(wanted)):
        if depth > deepest:
            serves = f"decodes from {deepest}" + (" at most" if deepest > 1 else "")
            why = "" if stacked else "; it inverts every other macro-layer alone"
            style.leave_out(f"{run_.title} at --depth {depth}: it {serves}{why}.")
    return [depth for depth in sorted(set(wanted)) if depth <= deepest]


def layer_name(run_: Run, depth: int | None) -> str:
    """What the figures call the activation at a depth: pool2, conv4, fc6.

    Of a user's network: the blob's own name, unless it is of a pooling layer.
    """
    if depth is not None and run_.net in NETWORKS:
        macro = NETWORKS[run_.net].macro_layers[depth - 1]
        pooled = macro.layers[-1].type == "Pooling"
        return f"pool{depth}" if pooled else macro.output.name
    path = (
        Run(run_.net, run_.variant, 4, model_depth(run_, depth)).models
        / "deploy.prototxt"
    )
    layers = network.read(path).layer
    decoders = (layer for layer in layers if layer.name.startswith(DECODER))
    read = [la.bottom[0] for la in decoders if not la.bottom[0].startswith(DECODER)]
    blob = read[0] if find_variant(run_.variant).stacked else read[-1]
    pooled = any(la.type == "Pooling" and blob in la.top for la in layers)
    return f"pool{depth}" if pooled and depth is not None else blob


def model_depth(run_: Run, depth: int | None) -> int | None:
    """That of the network which decodes from a depth of `depths_of`: a layerwise
    variant's all do."""
    return depth if find_variant(run_.variant).stacked else run_.depth


def decoded(
    model: Model, images: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Originals, reconstructions, and the mean error, as `reconstruct`."""
    originals, copies, errors = reconstruct(model, images)
    return originals, copies, float(errors.mean())


@style.style()
def draw(originals: list[np.ndarray], rows: Sequence[Row], title: str) -> Figure:
    """A figure in which an image's pixel is a square of the PNG's pixels.

    originals, rows' images: uint8 (C, H, W), of one shape. title: above the labels.
    """
    scale = grid.default_scale(originals[0].shape[1])
    shown = [("", originals), *(("", row.images) for row in rows)]
    page = np.asarray(grid.grid(shown, scale))
    labels = [title, "original", *(row.label for row in rows)]
    errors = [ERROR, *(style.short(row.error) for row in rows)]
    left, right = _pixels(labels), _pixels(errors)
    above = round(2 * style.FONT * style.PIXELS_PER_INCH / POINTS_PER_INCH)
    height, width = page.shape[0] + above, left + page.shape[1] + right
    dpi = style.PIXELS_PER_INCH
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    across = page.shape[1] / width
    axes = figure.add_axes((left / width, 0, across, page.shape[0] / height))
    axes.imshow(page, interpolation="none", aspect="auto")
    axes.axis("off")
    air = AIR * dpi / POINTS_PER_INCH
    top = 1 - above / 2 / height
    centred = {"va": "center_baseline"}
    figure.text(air / width, top, title, **centred)
    figure.text(1 - air / width, top, ERROR, ha="right", **centred)
    step = originals[0].shape[1] * scale + grid.GAP
    for line, label in enumerate(labels[1:]):
        middle = grid.GAP + line * step + (step - grid.GAP) / 2
        y = 1 - (above + middle) / height
        figure.text(air / width, y, label, **centred)
        if line:
            figure.text(1 - air / width, y, errors[line], ha="right", **centred)
    return figure


def _pixels(texts: Sequence[str]) -> int:
    """The width that texts take, with air on both sides."""
    points = max(
        TextPath((0, 0), text, size=style.FONT).get_extents().width
        for text in texts
        if text
    )
    return round((points + 2 * AIR) * style.PIXELS_PER_INCH / POINTS_PER_INCH)
