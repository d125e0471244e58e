"""Rows of tools/reproduce.py's results.json as the paper's tables, in Markdown."""

from collections.abc import Callable, Sequence
from statistics import mean, stdev

from generator.paper import TABLE_1, TABLE_1_COLUMNS

CONTROL = "baseline, finetuned"
"""The classifier trained on without decoder, as long as the others (Section 4.3)."""


MISSING = "–"


Row = dict
"""One result of one seed: the keys are those of reproduction.Measurement.row."""


def summary(values: Sequence[float | None]) -> str:
    """7.91 ± 0.12: the mean, and the standard deviation over seeds where there are
    several; "(2 of 3)" behind it where a seed is None; MISSING where all are."""
    found = [value for value in values if value is not None]
    if not found:
        return MISSING
    text = f"{mean(found):.2f}"
    if len(found) > 1:
        text += f" ± {stdev(found):.2f}"
    if len(found) < len(values):
        text += f" ({len(found)} of {len(values)})"
    return text


def values(rows: Sequence[Row], key: str, **wanted: object) -> list[float | None]:
    """What the rows that agree in all of `wanted` have, one a seed."""
    return [row[key] for row in rows if all(row[k] == v for k, v in wanted.items())]


def errors(rows: Sequence[Row]) -> str:
    """Table 1's layout: errors in percent by model, scheme, k and split.

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
        return summary(values(rows, key, depth=depth(scheme), **chosen))

    head = [f"{scheme}, top-{k}, {split}" for scheme, k, split in columns]
    body = [[model, *(cell(model, c) for c in columns)] for model in models(rows)]
    return markdown(["error in %", *head], body)


def deepest_depth(rows: Sequence[Row], model: str) -> Callable[[str], int | None]:
    """The depth that a model's errors were measured with, by scheme: the deepest."""

    def depth(scheme: str) -> int | None:
        found = [
            row["depth"]
            for row in rows
            if row["model"] == model and row["scheme"] == scheme and row["depth"]
        ]
        return max(found, default=None)

    return depth


def paper_errors() -> str:
    """Table 1 as the paper has it: VGG-16 on ILSVRC 2012."""
    head = [f"{scheme}, top-{k}, {split}" for scheme, k, split in TABLE_1_COLUMNS]
    body = [
        [title, *(f"{value:.2f}" for value in figures)]
        for title, figures in TABLE_1.values()
    ]
    return markdown(["error in %, paper", *head], body)


def reconstruction(rows: Sequence[Row]) -> str:
    """Figure A-3's table by depth: mean ||x^ - x||^2 of the validation images."""
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
                summary(values(chosen, "recon_l2", model=model, depth=d))
                for d in depths
            ),
        ]
        for model in models(chosen)
    ]
    return markdown(["mean ‖x̂−x‖²", *(f"from {d}" for d in depths)], body)


def few_labels(rows: Sequence[Row], split: str = "val") -> str:
    """Top-1 error in percent by model and number of labels."""
    rows = [row for row in rows if row["labels"] is not None]
    numbers = sorted({row["labels"] for row in rows})
    body = [
        [
            model,
            *(
                summary(values(rows, "top1_error", model=model, labels=n, split=split))
                for n in numbers
            ),
        ]
        for model in models(rows)
    ]
    head = f"top-1 error in %, {split}"
    return markdown([head, *(f"{n:,} labels" for n in numbers)], body)


def models(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned in the text, too."""
    lines = [head, *body]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join([text(head), f"| {' | '.join(rule)} |", *map(text, body)])
