"""What went wrong in a way that the user can mend."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


class UserError(Exception):
    """A sentence for the user: what was expected, what was found, what mends it."""


def lookup(kind: str, name: str, known: Mapping[str, Value]) -> Value:
    """Returns `known[name]`; raises UserError with the known names and the nearest.

    kind: what is named, such as "network".
    """
    if name in known:
        return known[name]
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else "."
    raise UserError(f"unknown {kind} '{name}'{hint} Known: {', '.join(known)}.")
