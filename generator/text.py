"""Columns of text, for people to read."""

from collections.abc import Sequence

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
    """Rows under one another, in aligned columns; see `padded`."""
    lines = (indent + gap.join(row) for row in padded(rows, align))
    return "\n".join(line.rstrip() for line in lines)
