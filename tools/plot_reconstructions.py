#!/usr/bin/env python3
"""Images, and below them what runs make of them: a row a model and layer that it
decodes from (the paper's Figures 4, 5, A-3 to A-5).

At the right of a row: the mean of ||x^ - x||^2 over its images, pixels in [0, 1].
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime import UserError, run, use_project_python

use_project_python("caffe", "lmdb", "matplotlib", "numpy", "PIL")

import arguments  # noqa: E402
import figures  # noqa: E402
import network  # noqa: E402
import numpy as np  # noqa: E402
import plotting  # noqa: E402
import runs  # noqa: E402
import unseen  # noqa: E402
from inference import Model  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.textpath import TextPath  # noqa: E402
from prerequisites import DECODER  # noqa: E402
from reconstruct import IMAGE_HELP, load, reconstruct  # noqa: E402
from runs import Run  # noqa: E402

from generator.networks import NETWORKS  # noqa: E402
from generator.variants import find_variant  # noqa: E402

IMAGES = [f"val:{n}" for n in range(6)] + [unseen.PREFIX + n for n in unseen.NAMES]
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
    known = runs.stages_in(folder)[0]
    stage = plotting.named_stage(folder)
    place = folder.absolute() if stage is None else folder.absolute().parent
    depth = None
    if place.name.startswith("depth"):
        depth, place = int(place.name.removeprefix("depth")), place.parent
    shown, variant = runs.relative(folder), find_variant(place.name)
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
    deepest = (run_.depth or runs.depths(run_.net)[0]) if stacked else 1
    if deepest is None:
        return [None]
    if wanted is None:
        return list(range(1, deepest + 1))
    for depth in sorted(set(wanted)):
        if depth > deepest:
            serves = f"decodes from {deepest}" + (" at most" if deepest > 1 else "")
            why = "" if stacked else "; it inverts every other macro-layer alone"
            plotting.leave_out(f"{run_.title} at --depth {depth}: it {serves}{why}.")
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
    """Originals, reconstructions, and the mean error, as `reconstruct`, in batches."""
    size = model.batch_size(model.images("val").preprocessing.shape)
    parts = [
        reconstruct(model, images[start : start + size])
        for start in range(0, len(images), size)
    ]
    originals, copies = (sum((part[i] for part in parts), []) for i in (0, 1))
    return originals, copies, float(np.concatenate([p[2] for p in parts]).mean())


@plotting.style()
def draw(originals: list[np.ndarray], rows: Sequence[Row], title: str) -> Figure:
    """A figure in which an image's pixel is a square of the PNG's pixels.

    originals, rows' images: uint8 (C, H, W), of one shape. title: above the labels.
    """
    scale = figures.default_scale(originals[0].shape[1])
    shown = [("", originals), *(("", row.images) for row in rows)]
    page = np.asarray(figures.grid(shown, scale))
    labels = [title, "original", *(row.label for row in rows)]
    errors = [ERROR, *(plotting.short(row.error) for row in rows)]
    left, right = _pixels(labels), _pixels(errors)
    above = round(2 * plotting.FONT * plotting.PIXELS_PER_INCH / POINTS_PER_INCH)
    height, width = page.shape[0] + above, left + page.shape[1] + right
    dpi = plotting.PIXELS_PER_INCH
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    across = page.shape[1] / width
    axes = figure.add_axes((left / width, 0, across, page.shape[0] / height))
    axes.imshow(page, interpolation="none", aspect="auto")
    axes.axis("off")
    air = AIR * dpi / POINTS_PER_INCH
    top = 1 - above / 2 / height
    style = {"va": "center_baseline"}
    figure.text(air / width, top, title, **style)
    figure.text(1 - air / width, top, ERROR, ha="right", **style)
    step = originals[0].shape[1] * scale + figures.GAP
    for line, label in enumerate(labels[1:]):
        middle = figures.GAP + line * step + (step - figures.GAP) / 2
        y = 1 - (above + middle) / height
        figure.text(air / width, y, label, **style)
        if line:
            figure.text(1 - air / width, y, errors[line], ha="right", **style)
    return figure


def _pixels(texts: Sequence[str]) -> int:
    """The width that texts take, with air on both sides."""
    points = max(
        TextPath((0, 0), text, size=plotting.FONT).get_extents().width
        for text in texts
        if text
    )
    return round((points + 2 * AIR) * plotting.PIXELS_PER_INCH / POINTS_PER_INCH)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder such as runs/vgg8/swwae-all, or a stage's in it, such as"
        " runs/vgg8/swwae-all/stage3 (default: the newest stage with a decoder)",
    )
    parser.add_argument(
        "--depth",
        type=arguments.at_least(1),
        action="append",
        metavar="N",
        help="decode from macro-layer N; may be repeated (default: the run's depth and"
        " all below)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=IMAGES,
        metavar="IMAGE",
        help=f"{IMAGE_HELP} (default: {IMAGES[0]} to {IMAGES[5]}, and those)",
    )
    parser.add_argument(
        "--out",
        type=plotting.picture_path,
        required=True,
        metavar="FILE",
        help="the figure, a .png or an .svg",
    )
    options = parser.parse_args()
    runs.check_writable(options.out)
    found = plotting.drawable(options.runs, decoding_stage)
    stages = list(dict.fromkeys(stage for _, stage in found))
    jobs = [
        (depth, stage, label)
        for stage, label in zip(stages, plotting.labels(stages), strict=True)
        for depth in depths_of(stage, options.depth)
    ]
    jobs.sort(key=lambda job: job[0] or 0)
    if not jobs:
        raise UserError("no run decodes from there: there is nothing to draw.")
    images = f"{len(options.images)} image{'s' * (len(options.images) > 1)}"
    print(f"{images}, {len(jobs)} rows; {ERROR}, pixels in [0, 1]:", flush=True)
    pictures, originals, rows = None, [], []
    for depth, stage, label in jobs:
        try:
            network_depth = model_depth(stage, depth)
            model = Model(stage.net, stage.variant, network_depth, stage.final_weights)
        except UserError as error:
            plotting.leave_out(error)
            continue
        if pictures is None:
            pictures = [load(model, name) for name in options.images]
        try:
            seen, copies, error = decoded(model, pictures)
        except UserError as reason:
            plotting.leave_out(reason)
            continue
        if not originals:
            originals = seen
        elif not _same(seen, originals):
            plotting.leave_out(
                f"{stage.place}: {stage.net} reads images as {_shape(seen)}, or other"
                f" parts of them; the first run's as {_shape(originals)}. Draw it by"
                " itself."
            )
            continue
        rows.append(Row(f"{label} {layer_name(stage, depth)}", copies, error))
        print(f"  {plotting.short(error):>8}  {rows[-1].label}", flush=True)
    if not rows:
        raise UserError("there is nothing to draw.")
    nets = ", ".join(dict.fromkeys(stage.net for stage in stages))
    plotting.save(draw(originals, rows, nets), options.out)
    print(f"drawn: {runs.relative(options.out)}")
    return 0


def _same(images: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, images, others))


def _shape(images: list[np.ndarray]) -> str:
    return "x".join(map(str, images[0].shape))


if __name__ == "__main__":
    run(main)
