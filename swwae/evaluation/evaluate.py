"""Classification errors and reconstruction error of a trained network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.data_kinds import FORCED, colour
from generator.datums import FLOATS_EACH, PICTURE
from generator.derived import UNLABELLED
from generator.errors import UserError
from generator.labels import ranges_text
from generator.layers import Shape, shape_text
from generator.lmdb_pages import FILE
from swwae.base.project import relative
from swwae.evaluation import results
from swwae.evaluation.model import SCHEMES, Model
from swwae.evaluation.reconstruct import squared_error
from swwae.images.database import Database
from swwae.images.loader import prepared
from swwae.nets import databases
from swwae.runs.run import Run

MOST_WAITING = 400
"""Images that wait for others of their size, before some are taken without."""


def selected(
    total: int, images: int | None = None, seed: int = 0, limit: int | None = None
) -> Sequence[int]:
    """Returns places, ascending, of the images to classify among `total`.

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
    """Returns errors in percent, and the mean of ||x^ - x||^2, over the images.

    Keys: images, top1_error, top5_error, recon_l2 (None without a decoder). A class
    whose score equals the label's counts as ranked above it. Images with the label -1,
    which stands for none, are reconstructed alone; where there are some, `unlabelled`
    says how many. places: those of the images alone. batch: images at a time, None for
    what memory allows. progress: is called with the number of images that are done.
    Raises UserError where an image cannot be read, has another data set's label, or no
    image has one.
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
            ranked = [place for place, _ in chunk]
            pixels = np.stack([image for _, (image, _) in chunk])
            labels = np.array([label for _, (_, label) in chunk])
            data = images.preprocessing.centred(pixels)
            output = model(data)
            classes = output.probabilities.shape[1]
            foreign = labels[(labels < UNLABELLED) | (labels >= classes)]
            if foreign.size:
                raise UserError(
                    f"{images.path} has label {foreign[0]}, the network {classes}"
                    " classes: it is another data set's."
                )
            ranks[ranked] = label_rank(output.probabilities, labels)
            if model.decodes:
                l2[ranked] = squared_error(output.reconstructions, data)
            done += len(chunk)
            progress(done)
    classified = ranks[ranks >= 0]
    if not classified.size:
        raise UserError(_without_labels(images.path))
    errors = {
        "images": len(places),
        "top1_error": 100 * float(np.mean(classified >= 1)),
        "top5_error": 100 * float(np.mean(classified >= 5)),
        "recon_l2": float(np.mean(l2)) if model.decodes else None,
    }
    unlabelled = len(places) - len(classified)
    return errors | ({"unlabelled": unlabelled} if unlabelled else {})


def _without_labels(path: Path) -> str:
    return (
        f"the images of {relative(path)} have no labels ({UNLABELLED} stands for none),"
        " so that no error can be counted: give a database that has some."
    )


def label_rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns (N,): how many other classes score at least as high as the label's; -1
    where that is UNLABELLED.

    scores: (N, classes). labels: (N,).
    """
    of_label = scores[np.arange(len(labels)), labels][:, np.newaxis]
    ranks = (scores >= of_label).sum(axis=1) - 1
    return np.where(labels == UNLABELLED, UNLABELLED, ranks)


Item = tuple[int, tuple[np.ndarray, int]]
"""Place, image and label."""


def batches(
    items: Iterable[Item], size: Callable[[tuple], int], waiting: int = MOST_WAITING
) -> Iterator[list[Item]]:
    """Yields the items in groups whose images have one shape.

    A group is as large as size(shape) says; smaller where more than `waiting` items
    have been read and not yielded, and at the end.
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


def entry(model: Model, split: str, seed: int | None, errors: dict) -> dict:
    """Returns what `evaluate` found, and of what. seed: None where none was drawn."""
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


@dataclass(frozen=True)
class Evaluation:
    """A model, and the images of a split that it is to be evaluated on.

    places: of the images. total: how many the split has. seed: None where none were
    drawn. notes: clauses on what is done to the images. owner, checksum: the run that
    the weights are of, and theirs as they were loaded; None where the result is not to
    be recorded.
    """

    model: Model
    split: str
    images: Database
    places: Sequence[int]
    total: int
    seed: int | None
    notes: Sequence[str]
    owner: Run | None
    checksum: str | None

    def __str__(self) -> str:
        which = f"{len(self.places):,} of {self.total:,} {self.split} images"
        drawn = "" if self.seed is None else f", seed {self.seed}"
        path = relative(self.images.path)
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.model.scheme}, {which}{drawn}, from {path}{notes}"

    def result(self, errors: dict) -> dict:
        """Returns errors, with the keys of --json, as `entry`."""
        return entry(self.model, self.split, self.seed, errors)

    def run(
        self,
        batch: int | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict:
        """Evaluates the model, and returns the result; batch, progress: as in
        `evaluate`."""
        return self.result(
            evaluate(self.model, self.images, self.places, batch, progress)
        )

    def record(self, result: dict) -> None:
        """Records a result beside the weights, where tools/report.py looks, if they
        are a run's, and no limit cut the images off.

        Raises UserError where it cannot be written there.
        """
        if self.owner is not None:
            results.record(self.owner, result, self.checksum)


def evaluation(
    model: Model,
    split: str,
    images: int | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Evaluation:
    """Returns the evaluation of a model on images of a split ("train" or "val").

    images, seed, limit: as in `selected`. Raises UserError where there are no images,
    their database is damaged, has labels that the network has no class for, or images
    that its data layer does not take.
    """
    database = model.images(split)
    check_labels(database.path, model.classes)
    notes = image_notes(database, model.preprocessing.shape)
    total = len(database)
    places = selected(total, images, seed, limit)
    drawn = images is not None and images < total
    owner = results.owner(model.weights_file) if limit is None else None
    return Evaluation(
        model,
        split,
        database,
        places,
        total,
        seed if drawn else None,
        notes,
        owner,
        results.checksum_of(model.weights_file) if owner else None,
    )


def check_labels(path: Path, classes: int | None) -> None:
    """Raises UserError where a database is damaged, empty, has labels beyond the
    classes, or none at all. classes: None where they are not known."""
    if not (path / FILE).is_file():
        return  # opening it says how it is made
    labels = databases.examined(path).labels
    least, most = labels[0][0], labels[-1][1]
    if (least, most) == (UNLABELLED, UNLABELLED):
        raise UserError(_without_labels(path))
    if classes is not None and (least < UNLABELLED or most >= classes):
        raise UserError(
            f"{relative(path)} has the labels {ranges_text(labels)}, the network"
            f" {classes} classes, 0 to {classes - 1}: it is another data set's, or its"
            " labels do not begin with 0."
        )


def image_notes(images: Database, image: Shape) -> list[str]:
    """Returns clauses on images that are taken as they are or decoded otherwise than
    the network's own data layer would.

    image: (channels, height, width) that the network was generated for. Raises
    UserError where there are some that the layer would refuse.
    """
    notes = []
    if (size := images.preprocessing.shape) != image:
        notes.append(
            f"they are {shape_text(size)} and stay so, as in training (the network was"
            f" generated for {shape_text(image)})"
        )
    if not (images.path / FILE).is_file():
        return notes  # opening it says how it is made
    survey = databases.examined(images.path)
    for kind in (kind for kind in survey.kinds if kind.channels):
        picture = kind.coding == PICTURE
        which = f"{relative(images.path)}: an image (the first is entry {kind.entry})"
        for size in dict.fromkeys((kind.least, kind.most)):
            shape = (image[0] if picture else kind.channels, *size)
            fault = images.refusal(which, shape, kind.coding == FLOATS_EACH)
            if fault:
                raise UserError(fault)
        fits = (kind.channels, kind.bits) == (image[0], 8)
        if picture and image[0] in FORCED and not images.forced and not fits:
            notes.append(
                f"{kind.images:,} of {survey.images:,} are {colour(kind.channels)} of"
                f" {kind.bits} bits and decoded as {FORCED[image[0]]}: true would"
            )
    return notes


def describe(result: dict) -> str:
    """Returns a result, with the keys of --json, for a person."""
    l2 = result["recon_l2"]
    lines = [
        f"{result['net']} {result['variant']}, {result['scheme']},"
        f" {result['images']} {result['split']} images, {result['weights']}",
        f"  top-1 error     {result['top1_error']:.2f} %",
        f"  top-5 error     {result['top5_error']:.2f} %",
    ]
    if unlabelled := result.get("unlabelled"):
        lines.insert(1, f"  without a label {unlabelled}, which no error counts")
    if l2 is not None:
        depth = result["depth"]
        place = f"macro-layer {depth}" if depth else "the network's default depth"
        lines.append(
            f"  reconstruction  {l2:.4g}  (mean ||x^ - x||^2, pixels in [0, 1],"
            f" decoded from {place})"
        )
    elif result["scheme"] == "convolution":
        lines.append("  reconstruction  none: this scheme's network has no decoder")
        if not result["mirrored"]:
            lines.append("  mirror images   none: it was not trained on any")
    return "\n".join(lines)


def evaluated(
    run: Run,
    scheme: str,
    split: str,
    depth: int | None = None,
    images: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Returns a run's result, with the keys of --json.

    It is the one known of its present weights or, where there is none, computed and
    recorded beside them.

    images: drawn with seed 0, None for all. progress: is called with how many are
    done, and of how many. Raises UserError where weights, networks or images are
    missing.
    """
    checksum = results.checksum_of(run.final_weights)
    model = SCHEMES[scheme](run.net, run.variant, depth, run.final_weights)
    planned = evaluation(model, split, images)
    count = len(planned.places)
    known = results.find(run, planned.result({"images": count}))
    if known is not None:
        return known
    result = planned.run(progress=lambda done: progress(done, count))
    results.record(run, result, checksum)
    return result
