"""Classification errors and reconstruction error of a trained network."""

from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import closing
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.base.project import relative
from swwae.evaluation import results
from swwae.evaluation.model import SCHEMES, Model
from swwae.evaluation.reconstruct import squared_error
from swwae.images.database import Database
from swwae.images.loader import prepared
from swwae.runs.run import Run

MOST_WAITING = 400
"""Images that wait for others of their size, before some are taken without."""


def selected(
    total: int, images: int | None = None, seed: int = 0, limit: int | None = None
) -> Sequence[int]:
    """Places, ascending, of the images to classify among `total`.

    images: so many are drawn without repetition, the same ones for a seed everywhere
    and always (all where there are no more); None: all. limit: the first so many of
    them.
    """
    places: Sequence[int] = range(total)
    if images is not None and images < total:
        # NumPy promises the stream of PCG64, and none of what it draws from it.
        raw = np.random.PCG64(seed).random_raw(total)
        places = np.sort(np.argsort(raw, kind="stable")[:images]).tolist()
    return places[:limit]


def evaluate(
    model: Model,
    images: Database,
    places: Sequence[int] | None = None,
    batch: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict:
    """Errors in percent, and the mean of ||x^ - x||^2, over the images.

    Keys: images, top1_error, top5_error, recon_l2 (None without a decoder). A class
    whose score equals the label's counts as ranked above it. places: those of the
    images alone. batch: images at a time, None for what memory allows. progress: is
    told how many images are done.
    """
    places = range(len(images)) if places is None else places
    if not len(places):
        raise UserError(f"{images.path} holds no images; make the database again.")
    ranks = np.empty(len(places), int)
    l2 = np.empty(len(places))
    done = 0
    size = model.batch_size if batch is None else lambda shape: batch
    with closing(prepared(images, images.keys(places))) as reading:
        for chunk in batches(enumerate(reading), size):
            own = [place for place, _ in chunk]
            pixels = np.stack([image for _, (image, _) in chunk])
            labels = np.array([label for _, (_, label) in chunk])
            data = images.preprocessing.centred(pixels)
            output = model(data)
            classes = output.probabilities.shape[1]
            foreign = labels[(labels < 0) | (labels >= classes)]
            if foreign.size:
                raise UserError(
                    f"{images.path} has label {foreign[0]}, the network {classes}"
                    " classes: it is another data set's."
                )
            ranks[own] = label_rank(output.probabilities, labels)
            if model.decodes:
                l2[own] = squared_error(output.reconstructions, data)
            done += len(chunk)
            progress(done)
    return {
        "images": len(places),
        "top1_error": 100 * float(np.mean(ranks >= 1)),
        "top5_error": 100 * float(np.mean(ranks >= 5)),
        "recon_l2": float(np.mean(l2)) if model.decodes else None,
    }


def label_rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,): how many other classes score at least as high as the label's."""
    own = scores[np.arange(len(labels)), labels][:, np.newaxis]
    return (scores >= own).sum(axis=1) - 1


Item = tuple[int, tuple[np.ndarray, int]]
"""Place, image and label."""


def batches(
    items: Iterable[Item], size: Callable[[tuple], int], waiting: int = MOST_WAITING
) -> Iterator[list[Item]]:
    """The items in groups whose images have one shape, as large as size(shape) says.

    Smaller ones where more than `waiting` items have been read and not yielded, and at
    the end.
    """
    groups: dict[tuple, list[Item]] = {}
    count = 0
    for item in items:
        shape = item[1][0].shape
        groups.setdefault(shape, []).append(item)
        count += 1
        if len(groups[shape]) < size(shape):
            if count <= waiting:
                continue
            shape = max(groups, key=lambda shape: len(groups[shape]))
        group = groups.pop(shape)
        count -= len(group)
        yield group
    yield from groups.values()


def row(
    net: str,
    variant: str,
    depth: int | None,
    weights: Path | None,
    split: str,
    limit: int | None = None,
) -> dict:
    """One line of a results table, with the keys of --json: single-crop, all images.

    weights: None for those of the variant's last stage. Raises UserError where
    something that it takes is missing.
    """
    model = Model(net, variant, depth, weights)
    images = model.images(split)
    places = selected(len(images), limit=limit)
    return entry(model, split, None, evaluate(model, images, places))


def entry(model: Model, split: str, seed: int | None, errors: dict) -> dict:
    """What `evaluate` found, and of what; seed: None where nothing was drawn."""
    return {
        "net": model.net,
        "variant": model.variant.name,
        "depth": model.depth if model.decodes else None,
        "weights": relative(model.weights_file),
        "scheme": model.scheme,
        "mirrored": model.mirrors,
        "split": split,
        "seed": seed,
        **errors,
    }


def evaluated(
    run: Run,
    scheme: str,
    split: str,
    depth: int | None = None,
    images: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """A run's result, as --json has it: the one known of its present weights or, where
    there is none, computed and recorded beside them.

    images: drawn with seed 0, None for all. progress: is told how many are done, and of
    how many. Raises UserError where weights, networks or images are missing.
    """
    checksum = results.checksum_of(run.final_weights)
    model = SCHEMES[scheme](run.net, run.variant, depth, run.final_weights)
    database = model.images(split)
    places = selected(len(database), images)
    seed = 0 if len(places) < len(database) else None
    wanted = entry(model, split, seed, {"images": len(places)})
    found = results.find(run, wanted)
    if found is not None:
        return found
    errors = evaluate(
        model, database, places, progress=lambda done: progress(done, len(places))
    )
    result = entry(model, split, seed, errors)
    results.record(run, result, checksum)
    return result
