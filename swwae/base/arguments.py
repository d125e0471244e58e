"""What several programs take on their command lines, for argparse's `type`."""

import argparse
import math
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path


def gpu_list(text: str) -> str:
    """Returns LIST or all, as --gpu takes them; numbers are MOST_GPUS at most."""
    if not re.fullmatch(r"all|\d{1,3}(,\d{1,3})*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is neither 'all' nor like 0 or 0,1")
    return text


MOST_GPUS = 999
"""The largest number of a GPU that is passed on to Caffe, which ends with one that its
int does not hold (ours)."""


def program(text: str) -> Path:
    """Returns the absolute path of a program that is named as in a shell; links stay,
    which tell a Python where its packages are."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no program that can be run")
    return Path(os.path.abspath(found))


INT32 = 2**31 - 1
"""The largest number that Caffe's settings hold."""


def at_least(least: int, most: int = INT32) -> Callable[[str], int]:
    """Returns a type: whole numbers from `least` to `most`."""
    wanted = f"from {least} " + ("on" if most == INT32 else f"to {most}")

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number {wanted}")
        return int(text)

    return parse


gpu_number = at_least(0, MOST_GPUS)


def number(within: Callable[[float], bool], kind: str) -> Callable[[str], float]:
    """Returns a type: numbers for which `within` holds. kind: what others are not."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not within(value):
            raise argparse.ArgumentTypeError(f"'{text}' is no {kind}")
        return value

    return parse


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Returns a type: some of the names that are known, with commas between, in the
    order of `known`."""

    def parse(text: str) -> list[str]:
        named = text.split(",")
        for name in named:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"'{name}' is none of {', '.join(known)}"
                )
        return [name for name in known if name in named]

    return parse
