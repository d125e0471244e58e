"""The pictures of a report: reconstructions, and first-layer filters before and after.

A picture is a PNG as a data URI, pixel for pixel.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np
from PIL import Image

from generator.errors import UserError
from generator.networks import NETWORKS
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import load, reconstruct
from swwae.figures import filters as filter_figures
from swwae.figures.reconstructions import depths_of, model_depth
from swwae.images.database import Database, first_of_each_class
from swwae.images.pictures import to_picture
from swwae.report.stages import Stage
from swwae.report.values import number
from swwae.runs.run import Run

MOST_IMAGES = 10
"""Of the data set; people add theirs."""

MOST_SEARCHED = 5000
"""Images among which one of each class is looked for."""

PAPERS_CHANGE = 35
"""Percent by which finetuning changed the filters of the paper's SWWAE-all (A2.1)."""


@dataclass(frozen=True)
class Reconstructions:
    """Images, and what every stage's decoder makes of them from every depth.

    originals: a picture of each image, as the networks see it. decoded: stage's title
    -> depth -> (picture, ||x^ - x||^2) of each image; None where that is not finite.
    """

    names: list[str]
    originals: list[str]
    decoded: dict[str, dict[str, list[tuple[str, float | None]]]]


@dataclass(frozen=True)
class Filters:
    """What one stage 4 changed.

    before, after: pictures of the first convolution's filters; None where there is no
    convolution. change: of each layer of the classifier, as
    `figures.filters.Change.relative`, in percent; nan of weights that were all 0.
    """

    title: str
    layer: str | None
    before: str | None
    after: str | None
    change: dict[str, float]

    @property
    def mean_change(self) -> float:
        """Returns the mean of the known changes, in percent; nan where none is."""
        known = [value for value in self.change.values() if isfinite(value)]
        return sum(known) / len(known) if known else nan


def picture(image: np.ndarray) -> str:
    """Returns an image, uint8 (C, h, w), C = 1 or 3 (BGR), as a data URI."""
    return _png(to_picture(image))


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


# --- reconstructions


def reconstructions(
    decoders: list[Stage],
    image_names: list[str],
    notices: list[str],
    progress: Callable[[str], None],
) -> Reconstructions | None:
    """Reconstructs images with each decoder from every depth; None where none can.

    image_names: images beside those of the data set, as tools/reconstruct.py takes
    them. notices: sentences on what cannot be reconstructed are appended to it.
    progress: is called with what is being reconstructed.
    """
    chosen: dict[str, np.ndarray] = {}
    originals: list[str] = []
    decoded: dict[str, dict[str, list[tuple[str, float | None]]]] = {}
    for stage in decoders:
        for depth in decoded_depths(stage.run):
            where = "the default depth" if depth is None else f"macro-layer {depth}"
            progress(f"reconstructing: {stage.title}, from {where}")
            try:
                run = stage.run
                network_depth = model_depth(run, depth)
                model = Model(run.net, run.variant, network_depth, run.final_weights)
                if not chosen:
                    chosen = chosen_images(model, image_names, notices)
                before, after, errors = reconstruct(model, list(chosen.values()))
            except UserError as error:
                notices.append(f"no reconstructions of {stage.title}: {error}")
                break
            originals = originals or [picture(image) for image in before]
            decoded.setdefault(stage.title, {})[str(depth or "default")] = [
                (picture(image), number(float(error)))
                for image, error in zip(after, errors, strict=True)
            ]
    return Reconstructions(list(chosen), originals, decoded) if decoded else None


def decoded_depths(run: Run) -> list[int | None]:
    """Returns those of `depths_of` for which there are networks."""
    return [
        depth
        for depth in depths_of(run, None)
        if depth is None or run.net in NETWORKS or _network(run, depth).is_file()
    ]


def _network(run: Run, depth: int) -> Path:
    """Returns the path of the network that decodes from a depth."""
    decoding = Run(run.net, run.variant, 4, model_depth(run, depth))
    return decoding.models / "deploy.prototxt"


def chosen_images(
    model: Model, names: list[str], notices: list[str]
) -> dict[str, np.ndarray]:
    """Returns name -> uint8 (C, h, w): one image of each class, then those named.

    notices: sentences on images that cannot be loaded are appended to it. Raises
    UserError where there is no image.
    """
    chosen: dict[str, np.ndarray] = {}
    try:
        chosen = one_of_each_class(model.images("val"), MOST_IMAGES)
    except UserError as error:
        notices.append(str(error))
    for name in names:
        try:
            chosen[name] = load(model, name)
        except UserError as error:
            notices.append(str(error))
    if not chosen:
        raise UserError("there is no image to reconstruct.")
    return chosen


def one_of_each_class(images: Database, most: int) -> dict[str, np.ndarray]:
    """Returns the first image of each class, as `val:<place> (class <label>)`."""
    found = first_of_each_class(images, most, MOST_SEARCHED)
    return {
        f"val:{place} (class {label})": image for label, (place, image) in found.items()
    }


# --- filters


def filters(stages: list[Stage], notices: list[str]) -> list[Filters]:
    """Compares what every finished stage 4 began from with what it left.

    notices: sentences on what cannot be compared are appended to it.
    """
    compared = []
    for stage in stages:
        if stage.run.stage == filter_figures.FINETUNING and stage.is_finished:
            try:
                compared.append(_filters(stage))
            except UserError as error:
                notices.append(f"no filters of {stage.title}: {error}")
    return compared


def _filters(stage: Stage) -> Filters:
    net, before, after = filter_figures.finetuned(stage.run.folder)
    layers = filter_figures.classifier_layers(net)
    pairs = filter_figures.weight_pairs(layers, net, before, after)
    convolutions = [name for name, kind in layers.items() if kind == "Convolution"]
    layer, pictures = None, (None, None)
    if convolutions:
        layer = convolutions[0]
        mosaics = filter_figures.mosaics(*pairs[layer])
        pictures = tuple(_png(Image.fromarray(mosaic)) for mosaic in mosaics)
    change = {
        name: 100 * filter_figures.change(name, *pair).relative
        for name, pair in pairs.items()
    }
    return Filters(stage.title, layer, *pictures, change)
