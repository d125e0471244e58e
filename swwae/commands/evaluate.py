"""Classification errors and reconstruction error of a trained network."""

import argparse
import sys
from pathlib import Path

from generator.errors import UserError
from generator.paper import TABLE_1_TRAIN_IMAGES
from swwae.base.arguments import at_least
from swwae.base.files import check_writable, write_json
from swwae.base.progress import Counter
from swwae.commands.options import add_gpu_argument, add_model_arguments, chosen_gpu
from swwae.evaluation import paper_table
from swwae.evaluation.evaluate import describe, evaluation
from swwae.evaluation.model import SCHEMES


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
        type=at_least(1),
        metavar="N",
        help="N images, drawn at random; as many as there are, at most (default:"
        f" {TABLE_1_TRAIN_IMAGES:,} training images, as the paper; all of val)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of the draw; %(default)s"
    )
    parser.add_argument(
        "--limit",
        type=at_least(1),
        metavar="N",
        help="the first N of these images only",
    )
    parser.add_argument(
        "--batch",
        type=at_least(1),
        metavar="N",
        help="images at a time (default: what 2 GiB hold, at most 50)",
    )
    add_gpu_argument(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="*",
        metavar="FILE.json",
        help="beside the paper's Table 1, with the results in these files",
    )
    options = parser.parse_args()
    if options.images is None and options.split == "train":
        options.images = TABLE_1_TRAIN_IMAGES
    return options


def main() -> int:
    options = _arguments()
    if options.json:
        check_writable(options.json)
    others = [r for path in options.compare or () for r in paper_table.read(path)]
    gpu, device = chosen_gpu(options.gpu)
    model = SCHEMES[options.scheme](
        options.net,
        options.variant,
        options.depth,
        options.weights,
        gpu,
    )
    planned = evaluation(
        model, options.split, options.images, options.seed, options.limit
    )
    print(f"{planned}, on the {device}", file=sys.stderr)
    result = planned.run(options.batch, Counter(len(planned.places), "images"))
    print(describe(result))
    if options.compare is not None:
        print(f"\n{paper_table.comparison([*others, result])}")
    if options.json:
        write_json(options.json, result)
    try:
        planned.record(result)
    except UserError as error:
        print(f"note: not recorded for tools/report.py: {error}", file=sys.stderr)
    return 0
