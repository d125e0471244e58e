"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5)."""

from collections.abc import Callable, Iterable, Sequence
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
from swwae.evaluation.reconstruct import load, reconstruct
from swwae.figures import selection, style
from swwae.images import grid
from swwae.nets import network
from swwae.runs import folders, networks
from swwae.runs.run import Run

POINTS_PER_INCH = 72
AIR = 10  # points beside a text

ERROR = "mean ‖x̂−x‖²"
"""What stands at the right of a row; pixels in [0, 1]."""


@dataclass(frozen=True)
class Decoding:
    """A row to be drawn: a finished stage, and the depth that it decodes from (None:
    its own, where the number is not known)."""

    run: Run
    depth: int | None
    label: str


@dataclass(frozen=True)
class Row:
    """The reconstructions of one model, uint8 (C, H, W), and the mean ||x^ - x||^2."""

    label: str
    images: list[np.ndarray]
    error: float


def decodings(
    run_folders: Iterable[Path], depths: Sequence[int] | None
) -> list[Decoding]:
    """Returns the rows of a figure, the shallowest depth first.

    depths: as of `depths_of`. What cannot be drawn is named on stderr. Raises UserError
    where nothing is left.
    """
    runs = selection.runs_to_draw(run_folders, decoding_stage)
    rows = [
        Decoding(run, depth, label)
        for run, label in zip(runs, selection.labels(runs), strict=True)
        for depth in depths_of(run, depths)
    ]
    if not rows:
        raise UserError("no run decodes from there: there is nothing to draw.")
    return sorted(rows, key=lambda row: row.depth or 0)


def decode(
    planned: Iterable[Decoding],
    image_names: Sequence[str],
    progress: Callable[[Row], None],
) -> tuple[list[np.ndarray], list[Row]]:
    """Returns the originals, uint8 (C, H, W), as the first network sees them, and rows.

    image_names: as tools/reconstruct.py takes them. progress: is called with every row
    as it is made. Rows that cannot be made, or whose network sees other originals, are
    named on stderr. Raises UserError where an image cannot be read, or no row is left.
    """
    images: list[np.ndarray] = []
    originals: list[np.ndarray] = []
    rows: list[Row] = []
    for row in planned:
        run, depth = row.run, model_depth(row.run, row.depth)
        try:
            model = Model(run.net, run.variant, depth, run.final_weights)
        except UserError as reason:
            selection.leave_out(reason)
            continue
        images = images or [load(model, name) for name in image_names]
        try:
            seen, copies, error = decoded(model, images)
        except UserError as reason:
            selection.leave_out(reason)
            continue
        originals = originals or seen
        if not all(map(np.array_equal, seen, originals)):
            selection.leave_out(
                f"{run.place}: {run.net} reads images as {_shape(seen)}, or other parts"
                f" of them; the first run's as {_shape(originals)}. Draw it by itself."
            )
            continue
        label = f"{row.label} {layer_name(run, row.depth)}"
        rows.append(Row(label, copies, error))
        progress(rows[-1])
    if not rows:
        raise UserError("there is nothing to draw.")
    return originals, rows


def _shape(images: list[np.ndarray]) -> str:
    return "x".join(map(str, images[0].shape))


def decoding_stage(folder: Path) -> Run:
    """Returns a run's newest finished stage that trained its variant's own decoder.

    A stage's folder stands for that stage alone. Raises UserError where there is none.
    """
    folders.stages_in(folder)  # raises UserError where there is none
    root, net, name, depth, stage = folders.folder_parts(folder)
    shown, variant = project.relative(folder), find_variant(name)
    if not variant.has_decoder:
        raise UserError(
            f"{shown}: {variant.name} has no decoder; choose sae-* or swwae-*."
        )
    training = [Run(net, variant.name, 4, depth, root)]
    while (previous := training[-1].previous).stage > 1 and previous.variant == name:
        training.append(previous)
    chosen = [run for run in training if stage in (None, run.stage)]
    if not chosen:
        stages = " and ".join(str(run.stage) for run in training)
        raise UserError(
            f"{shown}: stage {stage} trains no decoder of {variant.name}; its stages"
            f" {stages} do."
        )
    for run in chosen:
        if run.is_finished():
            return run
    newest = next((run for run in chosen if run.status()), chosen[-1])
    raise UserError(f"{newest.title} {_progress(newest)}; run {newest.command}")


def _progress(run: Run) -> str:
    status = run.status()
    if not status:
        return "has not been run"
    return f"is {status['state']} at iteration {status['iterations']:,}"


def depths_of(run: Run, wanted: Sequence[int] | None) -> list[int | None]:
    """Returns the depths that a run's decoder serves, of those wanted (None: all it was
    made for), the shallowest first. Those that it does not serve are named on stderr.

    A stacked decoder serves its depth and all below. A layerwise one serves depth 1: it
    inverts each macro-layer alone. None in the list: the run's own, where its number is
    not known.
    """
    stacked = find_variant(run.variant).stacked
    deepest = (run.depth or networks.depths(run.net)[0]) if stacked else 1
    if deepest is None:
        return [None]
    if wanted is None:
        return list(range(1, deepest + 1))
    for depth in sorted(set(wanted)):
        if depth > deepest:
            serves = f"decodes from {deepest}" + (" at most" if deepest > 1 else "")
            why = "" if stacked else "; it inverts every other macro-layer alone"
            selection.leave_out(f"{run.title} at --depth {depth}: it {serves}{why}.")
    return [depth for depth in sorted(set(wanted)) if depth <= deepest]


def layer_name(run: Run, depth: int | None) -> str:
    """Returns what the figures call the activation at a depth: pool2, conv4, fc6.

    Of a user's network: the blob's own name, unless it is of a pooling layer.
    """
    if depth is not None and run.net in NETWORKS:
        macro = NETWORKS[run.net].macro_layers[depth - 1]
        pooled = macro.layers[-1].type == "Pooling"
        return f"pool{depth}" if pooled else macro.output.name
    path = (
        Run(run.net, run.variant, 4, model_depth(run, depth)).models / "deploy.prototxt"
    )
    layers = network.read(path).layer
    decoders = (layer for layer in layers if layer.name.startswith(DECODER))
    read = [la.bottom[0] for la in decoders if not la.bottom[0].startswith(DECODER)]
    blob = read[0] if find_variant(run.variant).stacked else read[-1]
    pooled = any(la.type == "Pooling" and blob in la.top for la in layers)
    return f"pool{depth}" if pooled and depth is not None else blob


def model_depth(run: Run, depth: int | None) -> int | None:
    """Returns the depth of the network that decodes from a depth of `depths_of`: every
    network of a layerwise variant decodes from depth 1."""
    return depth if find_variant(run.variant).stacked else run.depth


def decoded(
    model: Model, images: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Returns originals, reconstructions, and the mean error, as `reconstruct`."""
    originals, copies, errors = reconstruct(model, images)
    return originals, copies, float(errors.mean())


@style.style()
def draw(originals: list[np.ndarray], rows: Sequence[Row], title: str) -> Figure:
    """Draws a figure in which an image's pixel is a square of the PNG's pixels.

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
    """Returns the width in pixels that texts take, with air on both sides."""
    points = max(
        TextPath((0, 0), text, size=style.FONT).get_extents().width
        for text in texts
        if text
    )
    return round((points + 2 * AIR) * style.PIXELS_PER_INCH / POINTS_PER_INCH)
