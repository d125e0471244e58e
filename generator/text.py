"""Text for people and files: aligned columns, indented JSON."""

import json
from collections.abc import Sequence
from typing import Any

Rows = Sequence[Sequence[str]]


def padded(rows: Rows, align: str = "<>") -> list[list[str]]:
    """Returns the rows, each cell as wide as its column's widest.

    align: a character a column, "<" to the left or ">" to the right; the last one
    serves for all columns that follow. A row may end early.
    """
    count = max((len(row) for row in rows), default=0)
    sides = align + align[-1] * (count - len(align))
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(count)]
    return [
        [
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, sides, widths, strict=False)
        ]
        for row in rows
    ]


def columns(rows: Rows, align: str = "<>", gap: str = "  ", indent: str = "") -> str:
    """Returns rows under one another, in aligned columns; see `padded`."""
    lines = (indent + gap.join(row) for row in padded(rows, align))
    return "\n".join(line.rstrip() for line in lines)


def json_text(value: Any) -> str:
    """Returns a value as a JSON file has it: indented, with a newline at its end.

    Raises ValueError for numbers that are not finite, which JSON does not have.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
