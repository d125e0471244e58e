#!/usr/bin/env python3
"""Classification errors and reconstruction error of a trained network."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from runtime import UserError, run, use_project_python

use_project_python("caffe", "lmdb", "numpy", "PIL", "scipy")

import devices  # noqa: E402
import numpy as np  # noqa: E402
import paper_table  # noqa: E402
import results  # noqa: E402
from images import Database  # noqa: E402
from inference import (  # noqa: E402
    SCHEMES,
    Model,
    add_model_arguments,
    squared_error,
)
from loader import prepared  # noqa: E402
from progress import Counter  # noqa: E402
from wholefile import whole_file  # noqa: E402

from generator.paper import TABLE_1_TRAIN_IMAGES  # noqa: E402
from runs import CAFFE, Run, check_writable, relative  # noqa: E402

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


def describe(result: dict) -> str:
    """A result for a person."""
    l2 = result["recon_l2"]
    lines = [
        f"{result['net']} {result['variant']}, {result['scheme']},"
        f" {result['images']} {result['split']} images, {result['weights']}",
        f"  top-1 error     {result['top1_error']:.2f} %",
        f"  top-5 error     {result['top5_error']:.2f} %",
    ]
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


def write_json(path: Path, value: dict | list) -> None:
    """Writes it whole or not at all; raises UserError where it cannot."""
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        "--scheme",
        default="single-crop",
        choices=list(SCHEMES),
        help="single-crop: the centre of the image, not mirrored; convolution: the"
        " whole image and, where training had them, its mirror image, every place"
        " averaged (Section 4.3)",
    )
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="N images, drawn at random; as many as there are, at most (default:"
        f" {TABLE_1_TRAIN_IMAGES:,} training images, as the paper; all of val)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw; %(default)s")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="the first N of these images only"
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images at a time (default: what 2 GiB hold, at most 50)",
    )
    parser.add_argument(
        "--gpu", type=int, metavar="N", help="default: the first one, or the CPU"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="*",
        metavar="FILE.json",
        help="beside the paper's Table 1, with the results in these files",
    )
    options = parser.parse_args()
    for name in ("images", "limit", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: at least one image")
    if options.seed < 0:
        parser.error("--seed: 0 or more")
    if options.images is None and options.split == "train":
        options.images = TABLE_1_TRAIN_IMAGES
    return options


def main() -> int:
    options = _arguments()
    if options.json:
        check_writable(options.json)
    others = [r for path in options.compare or () for r in paper_table.read(path)]
    gpu = None if options.gpu is None else str(options.gpu)
    gpus, device = devices.choose(CAFFE, gpu)
    model = SCHEMES[options.scheme](
        options.net,
        options.variant,
        options.depth,
        options.weights,
        gpus[0] if gpus else None,
    )
    owner = results.owner(model.weights_file)
    checksum = results.checksum_of(model.weights_file) if owner else ""
    images = model.images(options.split)
    total = len(images)
    places = selected(total, options.images, options.seed, options.limit)
    drawn = options.images is not None and options.images < total
    which = f"{len(places):,} of {total:,} {options.split} images"
    print(
        f"{options.scheme}, {which}{f', seed {options.seed}' if drawn else ''}, from"
        f" {relative(images.path)}, on the {device}",
        file=sys.stderr,
    )
    errors = evaluate(
        model, images, places, options.batch, Counter(len(places), "images")
    )
    result = entry(model, options.split, options.seed if drawn else None, errors)
    print(describe(result))
    if options.compare is not None:
        print(f"\n{paper_table.comparison([*others, result])}")
    if options.json:
        write_json(options.json, result)
    if owner is not None and options.limit is None:
        results.record(owner, result, checksum)  # where tools/report.py looks
    return 0


if __name__ == "__main__":
    run(main)
