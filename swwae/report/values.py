"""Values of status.json and other JSON files, which may hold anything: as numbers, and
in words for people."""

import shlex
from math import log10
from sys import float_info
from typing import Any

from swwae.base.progress import duration

NONE = "\N{EN DASH}"
"""In the cell of what there is none of."""


def number(value: Any) -> float | None:
    """Returns a finite number as it is; None for anything else."""
    if isinstance(value, int | float) and abs(value) <= float_info.max:
        return value
    return None


def mapping(value: Any) -> dict:
    """Returns a JSON object as it is; {} for anything else."""
    return value if isinstance(value, dict) else {}


def command_text(words: Any) -> str:
    """Returns a command line of a list of words; "" for anything else."""
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return shlex.join(words)
    return ""


def text(value: Any) -> str:
    """Returns a JSON value in words: objects and lists with commas, "" for null."""
    if isinstance(value, dict):
        pairs = ((key, text(member)) for key, member in value.items())
        return ", ".join(f"{key} {words}" for key, words in pairs if words)
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return "" if value is None else str(value)


def number_text(value: Any, form: str = ".4g") -> str:
    """Returns a number in a format; what is no number as it is, a dash for None."""
    if number(value) is None:
        return NONE if value is None else str(value)
    return f"{value:{form}}"


def seconds_text(value: Any) -> str:
    """Returns seconds as 1:15 or 1:01:40; a dash for what is no number."""
    seconds = number(value)
    return NONE if seconds is None else duration(seconds)


def bytes_text(value: Any) -> str:
    """Returns a number of bytes as 1.5 MB (powers of 1000); a dash for no number."""
    size = number(value)
    if size is None:
        return NONE
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(log10(size)) // 3, 3)
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"
