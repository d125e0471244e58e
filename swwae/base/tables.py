"""Tables of text: columns, Markdown, and what a command says before it begins."""

import sys
from collections.abc import Sequence

from generator.text import columns, padded

__all__ = ["columns", "markdown", "print_summary"]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose columns are aligned in the text, too.

    The first column is aligned to the left, the others to the right.
    """
    narrowest = ["-" * 3] * len(head)
    top, rule, *rest = padded([head, narrowest, *body])
    rule = ["-" * len(rule[0]), *("-" * (len(cell) - 1) + ":" for cell in rule[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (top, rule, *rest))


def print_summary(title: str | None, rows: Sequence[tuple[str, str]]) -> None:
    """Prints what a command is about to do: a title, and labelled lines below it."""
    if title:
        print(title)
    for label, text in rows:
        print(f"  {label:9}{text}")
    sys.stdout.flush()
