#!/usr/bin/env python3
"""Classification errors and reconstruction error of a trained network."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from runtime import UserError, run, use_project_python

use_project_python("caffe", "lmdb", "numpy", "PIL")

import numpy as np  # noqa: E402
from images import Database  # noqa: E402
from inference import Model, add_model_arguments, squared_error  # noqa: E402
from runs import check_writable, relative  # noqa: E402
from wholefile import whole_file  # noqa: E402

BATCH = 50


def evaluate(model: Model, images: Database, limit: int | None = None) -> dict:
    """Errors in percent, and the mean of ||x^ - x||^2, over the images.

    Keys: images, top1_error, top5_error, recon_l2 (None without a decoder). A class
    whose score equals the label's counts as ranked above it. limit: the first so many
    images only.
    """
    total = len(images) if limit is None else min(limit, len(images))
    wrong1 = wrong5 = done = 0
    l2 = 0.0
    progress = Progress(total)
    for chunk in batches(islice(images, total), BATCH):
        data = np.stack([images.preprocessing(image) for image, _ in chunk])
        labels = np.array([label for _, label in chunk])
        output = model(data)
        classes = output.probabilities.shape[1]
        if labels.max() >= classes or labels.min() < 0:
            raise UserError(
                f"{images.path} has label {labels.max()}, the network {classes}"
                " classes: it is another data set's."
            )
        rank = label_rank(output.probabilities, labels)
        wrong1 += int((rank >= 1).sum())
        wrong5 += int((rank >= 5).sum())
        if output.reconstructions is not None:
            l2 += float(squared_error(output.reconstructions, data).sum())
        done += len(chunk)
        progress.show(done)
    progress.end()
    has_decoder = model.variant.has_decoder
    return {
        "images": done,
        "top1_error": 100 * wrong1 / done,
        "top5_error": 100 * wrong5 / done,
        "recon_l2": l2 / done if has_decoder else None,
    }


def label_rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,): how many other classes score at least as high as the label's."""
    own = scores[np.arange(len(labels)), labels][:, np.newaxis]
    return (scores >= own).sum(axis=1) - 1


def batches(items: Iterator, size: int) -> Iterator[list]:
    while chunk := list(islice(items, size)):
        yield chunk


class Progress:
    """A line on a terminal that says how far the images are; silent elsewhere."""

    def __init__(self, total: int):
        self.total = total
        self.start = time.monotonic()
        self.last = self.start
        self.tty = sys.stderr.isatty()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if self.tty and (now - self.last > 0.2 or done == self.total):
            self.last = now
            rate = done / max(now - self.start, 1e-9)
            print(
                f"\r{done}/{self.total} images, {rate:.0f}/s,"
                f" {(self.total - done) / rate:.0f} s left \x1b[K",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        if self.tty:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def row(
    net: str,
    variant: str,
    depth: int | None,
    weights: Path | None,
    split: str,
    limit: int | None = None,
) -> dict:
    """One line of a results table, with the keys of --json.

    weights: None for those of the variant's last stage. Raises UserError where
    something that it takes is missing.
    """
    model = Model(net, variant, depth, weights)
    return {
        "net": net,
        "variant": variant,
        "depth": model.depth if model.variant.has_decoder else None,
        "weights": relative(model.weights_file),
        "scheme": "single-crop",
        "split": split,
        **evaluate(model, model.images(split), limit),
    }


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
    return "\n".join(lines)


def write_json(path: Path, value: dict | list) -> None:
    """Writes it whole or not at all; raises UserError where it cannot."""
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        "--scheme",
        default="single-crop",
        choices=["single-crop"],
        help="single-crop: the centre of the image, not mirrored (Section 4.3)",
    )
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument(
        "--limit", type=int, metavar="N", help="the first N images only"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error("--limit: at least one image")
    if options.json:
        check_writable(options.json)
    result = row(
        options.net,
        options.variant,
        options.depth,
        options.weights,
        options.split,
        options.limit,
    )
    print(describe(result))
    if options.json:
        write_json(options.json, result)
    return 0


if __name__ == "__main__":
    run(main)
