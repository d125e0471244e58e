"""The table and the picture of tools/demo.sh, from the runs that it made."""

import argparse
from pathlib import Path

from PIL import Image

from generator.small_networks import find_network
from swwae.base.arguments import at_least
from swwae.base.files import write_json
from swwae.base.project import relative
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import reconstruct
from swwae.experiments.demonstration import (
    AUGMENTED,
    demo_evaluations,
    demo_table,
    measure_all,
)
from swwae.images import grid
from swwae.images.database import first_of_each_class


def picture(net: str, count: int) -> Image.Image:
    """Returns a picture of test images and what each decoder makes of them from every
    depth."""
    rows: list[tuple[str, list]] = []
    for depth in range(1, find_network(net).depth + 1):
        for name in AUGMENTED:
            model = Model(net, name, depth)
            images = model.images("val")
            chosen = first_of_each_class(images, count).values()
            originals, copies, _ = reconstruct(model, [image for _, image in chosen])
            if not rows:
                rows.append(("original", originals))
            rows.append((f"{name}\nfrom pool{depth}", copies))
    return grid.grid(rows, grid.default_scale(rows[0][1][0].shape[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", required=True)
    parser.add_argument(
        "--limit", type=at_least(1), metavar="N", help="the first N test images only"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="%(default)s"
    )
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    evaluations = demo_evaluations(options.net)
    for evaluation in evaluations:
        evaluation.check_finished()

    def print_progress(done: int) -> None:
        print(f"evaluated {done} of {len(evaluations)}", flush=True)

    results = measure_all(evaluations, options.limit, print_progress)
    write_json(out / "summary.json", results)
    grid.save(picture(options.net, 10), out / "reconstructions.png")
    depths = list(range(1, find_network(options.net).depth + 1))
    print(f"\n{results[0]['images']} test images of {options.net}; L2 is the mean of")
    print("||x^ - x||^2, pixels in [0, 1], decoded from pooling layer 1, 2, …\n")
    print(demo_table(results, depths))
    print(f"\ntable    {relative(out / 'summary.json')}")
    print(f"picture  {relative(out / 'reconstructions.png')}")
    return 0
