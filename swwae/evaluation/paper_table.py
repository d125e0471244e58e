"""Results of evaluate.py in the layout of the paper's Table 1, beside its figures."""

import json
from pathlib import Path
from typing import Any

from generator import text_files
from generator.errors import UserError
from generator.paper import (
    ILSVRC12_VAL_IMAGES,
    TABLE_1,
    TABLE_1_COLUMNS,
    TABLE_1_TRAIN_IMAGES,
)
from swwae.base import tables
from swwae.base.project import relative

BASELINE = "baseline"
NET = "vgg16"

IMAGES = {"train": TABLE_1_TRAIN_IMAGES, "val": ILSVRC12_VAL_IMAGES}
"""How many the paper's errors are of, by split."""

RESULT = {
    "net": str,
    "variant": str,
    "weights": str,
    "scheme": str,
    "split": str,
    "images": int,
    "top1_error": (int, float),
    "top5_error": (int, float),
}
"""What a result has at least, and of what type."""

Model = tuple[str, str, str]
"""Network, variant, weights."""

Column = tuple[str, int, str]
"""Test scheme, k of the top-k error, images that are classified."""

Errors = dict[Column, float]
"""In percent."""


def read(path: Path) -> list[dict]:
    """Returns the results in a file of evaluate.py --json.

    Raises UserError where it holds none.
    """
    try:
        value = json.loads(text_files.read(path))
    except OSError as error:
        raise UserError(
            f"{relative(path)} cannot be read: {error.strerror}; --compare takes files"
            " that tools/evaluate.py --json wrote."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{relative(path)} is no JSON file ({error}); write one with"
            f" tools/evaluate.py --json {relative(path)}"
        ) from None
    results = value if isinstance(value, list) else [value]
    if not results or not all(map(_is_result, results)):
        raise UserError(
            f"{relative(path)} is no result of tools/evaluate.py; write one with --json"
            f" {relative(path)}"
        )
    return results


def _is_result(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), kind) for key, kind in RESULT.items())
        and all(0 <= value[f"top{k}_error"] <= 100 for k in (1, 5))
    )


def errors_by_column(result: dict) -> Errors:
    """Returns what one result says, by Table 1's columns."""
    scheme, split = result["scheme"], result["split"]
    return {(scheme, k, split): result[f"top{k}_error"] for k in (1, 5)}


def comparison(results: list[dict]) -> str:
    """Returns results as rows, each with the paper's below it and what lies between
    them.

    Results of one network, variant and weights share a row. Only columns that a result
    has are there. Differences are in points; an improvement is relative to the error
    of the paper's baseline.
    """
    models: dict[Model, Errors] = {}
    for result in results:
        model = (result["net"], result["variant"], result["weights"])
        models.setdefault(model, {}).update(errors_by_column(result))
    present = {column for errors in models.values() for column in errors}
    columns = [column for column in TABLE_1_COLUMNS if column in present]
    columns += sorted(present - set(columns))
    lines: list[list[str]] = [
        ["", *(scheme for scheme, _, _ in columns)],
        ["error in percent", *(f"top-{k}" for _, k, _ in columns)],
        ["", *(split for _, _, split in columns)],
        [f"{TABLE_1[BASELINE][0]}, paper", *_cells(_paper(BASELINE), columns)],
    ]
    for model, errors in models.items():
        lines += _rows(model, errors, columns)
    notes = _notes(results)
    return "\n".join([*_aligned(lines), *([""] if notes else []), *notes])


def _rows(model: Model, ours: Errors, columns: list[Column]) -> list[list[str]]:
    """Returns a model's errors, the paper's, and how far they are apart."""
    net, variant, weights = model
    baseline, paper = _paper(BASELINE), _paper(variant)
    augmented = bool(paper) and variant != BASELINE
    rows = [[], [f"{net} {variant}, {weights}"], ["  ours", *_cells(ours, columns)]]
    if augmented:
        rows.append([f"  {TABLE_1[variant][0]}, paper", *_cells(paper, columns)])
    if paper:
        apart = {c: ours[c] - paper[c] for c in ours.keys() & paper}
        rows.append(["  difference, points", *_cells(apart, columns, "+.2f")])
    rows.append(["  lower than the paper's VGGNet by"])
    gain = _gain(ours, baseline)
    rows.append(["    ours", *_cells(gain, columns, "+.1f", " %")])
    if augmented:
        gain = _gain(paper, baseline)
        rows.append(["    paper", *_cells(gain, columns, "+.1f", " %")])
    return rows


def _notes(results: list[dict]) -> list[str]:
    """Why figures of the paper are missing, or are not of the same images."""
    notes = []
    for variant in dict.fromkeys(result["variant"] for result in results):
        if variant not in TABLE_1:
            notes.append(f"Table 1 has no row for {variant}.")
    for result in results:
        count, split = result["images"], result["split"]
        if result["net"] == NET and count < IMAGES.get(split, 0):
            notes.append(
                f"{result['variant']}, {result['scheme']}: of {count:,} {split} images,"
                f" the paper's of {IMAGES[split]:,}."
            )
    others = [net for net in dict.fromkeys(r["net"] for r in results) if net != NET]
    if others:
        notes.append(
            "The paper's rows are of VGG-16 on ILSVRC 2012,"
            f" {' and '.join(others)} {'are' if len(others) > 1 else 'is'} not."
        )
    return notes


def _paper(variant: str) -> Errors:
    """Table 1's row; {} where there is none."""
    if variant not in TABLE_1:
        return {}
    return dict(zip(TABLE_1_COLUMNS, TABLE_1[variant][1], strict=True))


def _gain(errors: Errors, baseline: Errors) -> Errors:
    """Returns how much lower than the baseline's they are, in percent of the
    baseline's."""
    return {
        column: 100 * (1 - errors[column] / baseline[column])
        for column in errors.keys() & baseline
    }


def _cells(
    errors: Errors, columns: list[Column], form: str = ".2f", unit: str = ""
) -> list[str]:
    return [
        f"{errors[column]:{form}}{unit}" if column in errors else "-"
        for column in columns
    ]


def _aligned(lines: list[list[str]]) -> list[str]:
    """Cells flush right; a line that has one cell is a title and takes the width, one
    without any is blank."""
    rows = [line for line in lines if len(line) > 1]
    table = iter(tables.columns(rows).splitlines())
    return [next(table) if len(line) > 1 else "".join(line) for line in lines]
