"""Checks, one after another, within a time: each finds something or fails."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from generator.errors import UserError


class Failed(Exception):
    """A check has failed. detail: what is wrong. data: for JSON."""

    def __init__(self, detail: str, data: Any = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data


@dataclass(frozen=True)
class Finding:
    """What a check has found that all is well. detail: in words. data: for JSON."""

    detail: str
    data: Any = None


@dataclass(frozen=True)
class Check:
    """Something to check. most: seconds that it may take.

    run: is given the time, of time.monotonic(), at which it must have ended, and raises
    Failed or UserError. needed: the checks behind it make no sense where it has failed.
    """

    name: str
    run: Callable[[float], Finding]
    most: float
    needed: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a check ended; seconds that it took."""

    name: str
    passed: bool
    seconds: float
    detail: str
    data: Any = None


def run_all(checks: Sequence[Check], seconds: float) -> Iterator[Outcome]:
    """Yields the outcome of every check.

    Those for which no time is left fail, and so do those behind a needed one that has.
    seconds: for all of them.
    """
    end = monotonic() + seconds
    missed = None
    for check in checks:
        began = monotonic()
        try:
            if missed is not None:
                raise Failed(f"not begun, since {missed} failed")
            if began >= end:
                raise Failed(
                    f"not begun: the {seconds:g} s were over; give more with --seconds"
                )
            found = check.run(min(began + check.most, end))
            passed, detail, data = True, found.detail, found.data
        except Failed as failed:
            passed, detail, data = False, failed.detail, failed.data
        except UserError as error:
            passed, detail, data = False, str(error), None
        except OSError as error:
            passed, data = False, None
            detail = f"{error.filename or check.name}: {error.strerror or error}"
        if check.needed and not passed:
            missed = missed or check.name
        yield Outcome(check.name, passed, monotonic() - began, detail, data)
