"""The paper's tables, in Markdown, from the rows of a reproduction's results.json."""

from collections.abc import Callable, Sequence
from statistics import mean, stdev

from generator.paper import TABLE_1, TABLE_1_COLUMNS
from swwae.base.tables import markdown

CONTROL = "baseline, finetuned"
"""The classifier trained on without decoder, as long as the others (Section 4.3)."""

MISSING = "–"

Row = dict
"""One result of one seed: the keys are those of measurements.Measurement.row."""


def mean_and_deviation(values: Sequence[float | None]) -> str:
    """Returns the mean over seeds and, of several, the standard deviation: 7.91 ± 0.12.

    "(2 of 3)" is behind it where a seed is None; it is MISSING where all are.
    """
    found = [value for value in values if value is not None]
    if not found:
        return MISSING
    text = f"{mean(found):.2f}"
    if len(found) > 1:
        text += f" ± {stdev(found):.2f}"
    if len(found) < len(values):
        text += f" ({len(found)} of {len(values)})"
    return text


def select(rows: Sequence[Row], key: str, **wanted: object) -> list[float | None]:
    """Returns the values of a key, one a seed, of the rows that agree with `wanted`."""
    return [row[key] for row in rows if all(row[k] == v for k, v in wanted.items())]


def errors_table(rows: Sequence[Row]) -> str:
    """Returns errors in percent, as Table 1 has them: by model, scheme, k and split.

    The convolution scheme's training errors, which the paper's table lacks, come last.
    """
    rows = [row for row in rows if row["labels"] is None and row["stage"] != 3]
    columns = [
        *TABLE_1_COLUMNS,
        ("convolution", 1, "train"),
        ("convolution", 5, "train"),
    ]

    def cell(model: str, column: tuple[str, int, str]) -> str:
        scheme, k, split = column
        chosen = {"model": model, "scheme": scheme, "split": split}
        depth = deepest_depth(rows, model)
        key = f"top{k}_error"
        return mean_and_deviation(select(rows, key, depth=depth(scheme), **chosen))

    head = [f"{scheme}, top-{k}, {split}" for scheme, k, split in columns]
    body = [[model, *(cell(model, c) for c in columns)] for model in models(rows)]
    return markdown(["error in %", *head], body)


def deepest_depth(rows: Sequence[Row], model: str) -> Callable[[str], int | None]:
    """Returns by scheme the depth that a model's errors are taken from: the deepest."""

    def depth(scheme: str) -> int | None:
        found = [
            row["depth"]
            for row in rows
            if row["model"] == model and row["scheme"] == scheme and row["depth"]
        ]
        return max(found, default=None)

    return depth


def paper_errors_table() -> str:
    """Returns Table 1 as the paper has it: VGG-16 on ILSVRC 2012."""
    head = [f"{scheme}, top-{k}, {split}" for scheme, k, split in TABLE_1_COLUMNS]
    body = [
        [title, *(f"{value:.2f}" for value in figures)]
        for title, figures in TABLE_1.values()
    ]
    return markdown(["error in %, paper", *head], body)


def reconstruction_table(rows: Sequence[Row]) -> str:
    """Returns Figure A-3's table by depth: mean ||x^ - x||^2 of the validation images,
    pixels in [0, 1]."""
    chosen = [
        row
        for row in rows
        if row["depth"] is not None
        and row["labels"] is None
        and row["split"] == "val"
        and row["scheme"] == "single-crop"
    ]
    depths = sorted({row["depth"] for row in rows if row["depth"] is not None})
    body = [
        [
            model,
            *(
                mean_and_deviation(select(chosen, "recon_l2", model=model, depth=d))
                for d in depths
            ),
        ]
        for model in models(chosen)
    ]
    return markdown(["mean ‖x̂−x‖²", *(f"from {d}" for d in depths)], body)


def few_labels_table(rows: Sequence[Row], split: str = "val") -> str:
    """Returns the top-1 error in percent by model and number of labels."""
    rows = [row for row in rows if row["labels"] is not None]
    numbers = sorted({row["labels"] for row in rows})
    body = [
        [
            model,
            *(
                mean_and_deviation(
                    select(rows, "top1_error", model=model, labels=n, split=split)
                )
                for n in numbers
            ),
        ]
        for model in models(rows)
    ]
    head = f"top-1 error in %, {split}"
    return markdown([head, *(f"{n:,} labels" for n in numbers)], body)


def models(rows: Sequence[Row]) -> list[str]:
    """Returns the models' names, in the order of the rows."""
    return list(dict.fromkeys(row["model"] for row in rows))
