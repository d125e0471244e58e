"""The table and the picture of tools/demo.sh, from the runs that it made."""

import argparse
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from generator.errors import UserError
from generator.networks import find_network
from swwae.base import files
from swwae.base.project import relative
from swwae.evaluation import evaluate
from swwae.evaluation.model import Model
from swwae.evaluation.reconstruct import reconstruct
from swwae.images import grid
from swwae.images.database import first_of_each_class
from swwae.runs.run import Run

AUGMENTED = ("sae-all", "swwae-all")


def jobs(net: str) -> list[dict]:
    """What is evaluated: the four models, and the two decoders from every depth."""
    depths = range(find_network(net).depth, 0, -1)
    plain = {"net": net, "variant": "baseline", "depth": None}
    rows = [
        plain | {"model": "baseline", "run": Run(net, "baseline", 0)},
        plain | {"model": "baseline, finetuned", "run": Run(net, "baseline", 4)},
    ]
    rows += [
        {"net": net, "variant": name, "depth": depth, "model": name}
        | {"run": Run(net, name, 4)}
        for name in AUGMENTED
        for depth in depths
    ]
    return rows


def work(job: dict, limit: int | None) -> dict:
    """A row of the table: evaluate.row's keys, and `model`."""
    weights = job["run"].final_weights
    row = evaluate.row(job["net"], job["variant"], job["depth"], weights, "val", limit)
    return {"model": job["model"], **row}


def table(rows: list[dict], depths: list[int]) -> str:
    """Errors of the models, and the reconstructions' L2 by depth, for a person."""
    head = ["", "top-1 error", "top-5 error", *(f"L2 from {d}" for d in depths)]
    lines = [head]
    for name in dict.fromkeys(row["model"] for row in rows):
        own = {row["depth"]: row for row in rows if row["model"] == name}
        first = next(iter(own.values()))
        cells = [name, f"{first['top1_error']:.2f} %", f"{first['top5_error']:.2f} %"]
        cells += [f"{own[d]['recon_l2']:.2f}" if d in own else "-" for d in depths]
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            "  " + cell.rjust(width)
            for cell, width in zip(line[1:], widths[1:], strict=True)
        )
        for line in lines
    )


def picture(net: str, count: int) -> Image.Image:
    """Test images, and what each decoder makes of them from every depth."""
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
        "--limit", type=int, metavar="N", help="the first N test images only"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="%(default)s"
    )
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    todo = jobs(options.net)
    for job in todo:
        if not job["run"].is_finished():
            raise UserError(
                f"{job['run'].title} is not finished; run tools/demo.sh, or"
                f" {job['run'].command}"
            )
    # Two processes of one thread each: the networks are too small for two threads.
    rows: dict[int, dict] = {}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        futures = {
            pool.submit(work, job, options.limit): i for i, job in enumerate(todo)
        }
        for future in as_completed(futures):
            rows[futures[future]] = future.result()
            print(f"evaluated {len(rows)} of {len(todo)}", flush=True)
    results = [rows[i] for i in range(len(todo))]
    files.write_json(out / "summary.json", results)
    grid.save(picture(options.net, 10), out / "reconstructions.png")
    depths = list(range(1, find_network(options.net).depth + 1))
    print(f"\n{results[0]['images']} test images of {options.net}; L2 is the mean of")
    print("||x^ - x||^2, pixels in [0, 1], decoded from pooling layer 1, 2, …\n")
    print(table(results, depths))
    print(f"\ntable    {relative(out / 'summary.json')}")
    print(f"picture  {relative(out / 'reconstructions.png')}")
    return 0
