"""A layer's filters before and after finetuning, and how much every layer's weights
changed (the paper's A2.1 and Figure A-1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from generator.errors import UserError
from generator.layers import shape_text
from generator.names import DECODER
from swwae.base import project, tables
from swwae.base.files import require_file
from swwae.figures import style
from swwae.nets import network, weights
from swwae.runs import folders
from swwae.runs.run import Run
from swwae.stages.changes import first_weights_of, recorded_file

FINETUNING = 4
"""The stage that changes the classifier."""

WEIGHTED = ("Convolution", "InnerProduct")

PAPER = "the paper's VGG-16, SWWAE-all: about 35 % on average (A2.1)"

FINEST = 6
"""Pixels that an element of a filter becomes, at most."""

WIDEST = 480
"""Pixels of a mosaic within which elements are enlarged; a larger one is averaged."""


@dataclass(frozen=True)
class Change:
    """How much a layer's weights changed, w0 -> w1, without biases; not in percent.

    relative: mean |w1 - w0| / mean |w0|, which the figure shows. The mean of
        |w1 - w0| / |w0| would depend on the few elements that were nearly 0.
    median: of |w1 - w0| / |w0| over the elements with w0 other than 0.
    """

    layer: str
    relative: float
    median: float


def change(layer: str, before: np.ndarray, after: np.ndarray) -> Change:
    """Returns how much a layer's weights changed; nan where all were 0 before."""
    moved, size = np.abs(after.astype(np.float64) - before), np.abs(before, dtype=float)
    if not size.any():
        return Change(layer, np.nan, np.nan)
    there = size > 0
    median = np.median(moved[there] / size[there])
    return Change(layer, float(moved.mean() / size.mean()), float(median))


def tiles(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns filters as pictures, before and after: uint8 (N, h, w, 3), RGB, of
    weights (M, C, h, w).

    A filter's 0 is mid-grey, and the largest |w| of the filter, before or after, is
    black or white: so contrast that finetuning added is seen. N = M where the filters
    are of grey or BGR images (C = 1 or 3), else M x C grey planes, a filter's planes
    normalised together.
    """
    stacked = np.stack([before, after]).astype(np.float64)
    largest = np.abs(stacked).max(axis=(0, 2, 3, 4), keepdims=True)
    unit = stacked / np.where(largest > 0, largest, 1)
    pixels = np.rint(127.5 + 127.5 * unit).astype(np.uint8)
    if pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1].transpose(0, 1, 3, 4, 2)
    else:
        planes = pixels.reshape(2, -1, *pixels.shape[3:])
        pixels = np.repeat(planes[..., np.newaxis], 3, axis=-1)
    return pixels[0], pixels[1]


def mosaic(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Returns one picture, uint8 (H, W, 3), of tiles (N, h, w, 3) row by row, white
    lines between them; an element is a square of pixels."""
    count, height, width, _ = pixels.shape
    rows = ceil(count / columns)
    scale = max(1, min(FINEST, WIDEST // (columns * (width + 1))))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    line = max(1, scale // 3)
    step_y, step_x = height * scale + line, width * scale + line
    page = np.full((rows * step_y - line, columns * step_x - line, 3), 255, np.uint8)
    for place, tile in enumerate(pixels):
        y, x = place // columns * step_y, place % columns * step_x
        page[y : y + height * scale, x : x + width * scale] = tile
    return page


def mosaics(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both pictures of a layer's weights (M, C, h, w), as `mosaic` does.

    Filters of images are in a square, others a row a filter, a column a channel.
    """
    channels = before.shape[1]
    columns = ceil(len(before) ** 0.5) if channels in (1, 3) else channels
    first, second = tiles(before, after)
    return mosaic(first, columns), mosaic(second, columns)


@style.style()
def draw(
    layer: str, pictures: tuple[np.ndarray, np.ndarray], changes: list[Change]
) -> Figure:
    """Draws a layer's filters before and after, beside the changes of every layer.

    pictures: before and after, uint8 (H, W, 3), one as large as the other.
    """
    height = max(3.6, 0.2 * len(changes) + 1)
    figure = Figure(figsize=(10, height), layout="constrained")
    before, after, bars = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    names = f"{layer}, before finetuning", f"{layer}, after"
    for axes, picture, title in zip((before, after), pictures, names, strict=True):
        crowded = max(picture.shape) > WIDEST
        axes.imshow(picture, interpolation="auto" if crowded else "none")
        axes.set_title(title)
        axes.axis("off")
    _bars(bars, changes)
    return figure


def _bars(axes: Axes, changes: list[Change]) -> None:
    values = [100 * change.relative for change in changes]
    (mark,) = style.marks(1)
    places = np.arange(len(changes))
    drawn = axes.barh(places, values, height=0.65, **mark.fill)
    texts = axes.bar_label(drawn, [f"{v:.1f}" for v in values], padding=3, size=8)
    for text in texts:  # the mean's line goes behind them
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_yticks(places, [change.layer for change in changes])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    mean = float(np.nanmean(values))
    axes.axvline(mean, color="black", linestyle="--", linewidth=1, zorder=0.9)
    axes.set(
        title=f"change of the weights, mean {mean:.1f} % (dashed)",
        xlabel="mean |w₁ − w₀| / mean |w₀|, %",
    )
    axes.margins(x=0.12)


def table(changes: list[Change]) -> str:
    """Returns the changes in percent, and their means over the layers, as text."""
    mean = Change(
        "mean of the layers",
        float(np.nanmean([change.relative for change in changes])),
        float(np.nanmean([change.median for change in changes])),
    )
    head = ("change in %", "mean |dw| / mean |w0|", "median |dw| / |w0|")
    body = [
        (row.layer, f"{100 * row.relative:.1f}", f"{100 * row.median:.1f}")
        for row in (*changes, mean)
    ]
    return tables.columns([head, *body])


def finetuned(folder: Path) -> tuple[str, Path, Path]:
    """Returns the network, and the weights that stage 4 of a run began from and left.

    Raises UserError where it has not finished, or what it began from is gone, or the
    folder is another stage's.
    """
    if folders.folder_parts(folder).stage not in (None, FINETUNING):
        raise UserError(
            f"{project.relative(folder)}: only stage {FINETUNING} finetunes the"
            f" classifier; name {project.relative(folder.absolute().parent)}, or give"
            " --before, --after and --net."
        )
    last = folders.stages_in(folder)[-1]
    if last.stage != FINETUNING or not last.is_finished():
        state = f"is {last.status()['state']}" if last.stage == FINETUNING else ""
        shown = project.relative(folder)
        raise UserError(
            f"{shown}: stage {FINETUNING}, which finetunes the classifier,"
            f" {state or 'has not been run'}; run it, or give --before, --after and"
            " --net."
        )
    recorded = recorded_file(last.status().get("weights_in"))
    if recorded is None:
        raise UserError(
            f"the status.json of {last.title} does not say which weights it began from;"
            f" run {last.command} --force, or give --before, --after and --net."
        )
    before = first_weights_of(last)
    if before is None:
        raise UserError(
            f"{recorded['path']} is no longer what {last.title} began from; run"
            f" {last.command} --force, or give --before, --after and --net."
        )
    return last.net, before, last.final_weights


def classifier_layers(net: str) -> dict[str, str]:
    """Returns layer -> "Convolution" or "InnerProduct", those of a classifier in order.

    Raises UserError where the network is unknown or not there.
    """
    run = Run(net, "baseline", FINETUNING)
    path = run.models / "deploy.prototxt"
    require_file(path, "network", run.generator_command)
    return {
        layer.name: layer.type
        for layer in network.read(path).layer
        if layer.type in WEIGHTED and not layer.name.startswith(DECODER)
    }


def weight_pairs(
    layers: Mapping[str, str], net: str, before: Path, after: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns layer -> its weights before and after, biases left out.

    Raises UserError where a file lacks a layer, or weights differ in shape or are not
    finite.
    """
    files = []
    for path in (before, after):
        loaded = weights.load(path)
        weights.require_finite(loaded, path)
        blobs = weights.blobs(loaded)
        missing = [name for name in layers if name not in blobs]
        if missing:
            raise UserError(
                f"{project.relative(path)} has no weights of {missing[0]}, a layer of"
                f" {net}."
            )
        files.append({name: weights.array(blobs[name][0]) for name in layers})
    pairs = {}
    for name in layers:
        first, second = (arrays[name] for arrays in files)
        if _without_leading_ones(first.shape) != _without_leading_ones(second.shape):
            raise UserError(
                f"layer {name} has the shape {shape_text(first.shape)} in"
                f" {project.relative(before)}, {shape_text(second.shape)} in"
                f" {project.relative(after)}: they are of two networks."
            )
        pairs[name] = first.reshape(second.shape), second
    return pairs


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape without the ones that Caffe's older format begins it with."""
    ones = next((i for i, side in enumerate(shape) if side != 1), len(shape))
    return shape[ones:]


def chosen_layer(layers: Mapping[str, str], name: str | None, net: str) -> str:
    """Returns the convolution to draw, by default the first.

    Raises UserError where `name` is no convolution, or there is none.
    """
    convolutions = [layer for layer, kind in layers.items() if kind == "Convolution"]
    if not convolutions:
        raise UserError(f"{net} has no convolutions: it has no filters to draw.")
    if name is not None and name not in convolutions:
        kind = "an inner product" if name in layers else "no layer"
        raise UserError(
            f"--layer {name}: that is {kind} of {net}; its convolutions are"
            f" {', '.join(convolutions)}."
        )
    return name or convolutions[0]
