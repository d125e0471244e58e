"""What is compared: an engine at a batch size and a number of threads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from swwae.bench.comparison import Difference
from swwae.bench.job import Job

REFERENCE = "CAFFE"
"""Name of the contenders that the others' results and times are compared with."""

TORCH = "PyTorch"
"""How the names of PyTorch's contenders begin."""

Setting = tuple[int, int]
"""Batch size, number of threads."""


@dataclass
class Contender:
    """A side at a batch size and a number of threads, and what was measured of it.

    job: for timing; compared: for comparing results. refused: why there are no figures,
    where there are none. count: steps in a turn. times: milliseconds a step, the median
    of each turn; others: the cores that other processes took in it. peak: bytes.
    differences: of "outputs" and "gradients", from the reference's; the reference's own
    are from what it computes with disturbed weights (`rounds.DISTURBANCE`). finite:
    whether every loss was. layers: type -> milliseconds forward and backward.
    gigabytes: type of those that only move numbers -> GB/s, likewise; copied: GB/s of a
    copy. On a card, peak is what is held of it, and allocated, of that, PyTorch's
    tensors' share; died: whether `refused` is a fault: its process ended, or could not
    begin though it was asked for.
    """

    name: str
    batch: int
    job: Job
    compared: Job
    refused: str | None = None
    count: int = 1
    times: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    finite: bool = True
    layers: dict[str, tuple[float, float]] = field(default_factory=dict)
    gigabytes: dict[str, tuple[float, float]] = field(default_factory=dict)
    copied: float = 0.0
    allocated: int | None = None
    died: bool = False

    @property
    def setting(self) -> Setting:
        return self.batch, self.job.threads

    @property
    def title(self) -> str:
        if self.job.gpu is not None:
            return f"{self.name}, batch {self.batch}"
        return f"{self.name}, {setting_text(self.setting)}"

    @property
    def milliseconds(self) -> float:
        """Returns those of a step: the median of the turns'."""
        return median(self.times)


def setting_text(setting: Setting) -> str:
    """Returns a setting in words: batch 8, 2 threads."""
    batch, threads = setting
    return f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}"


def by_setting(contenders: Sequence[Contender]) -> dict[Setting, list[Contender]]:
    """Returns the contenders of each setting, in their order."""
    groups: dict[Setting, list[Contender]] = {}
    for contender in contenders:
        groups.setdefault(contender.setting, []).append(contender)
    return groups


def speed_up(one: Contender, other: Contender) -> float:
    """Returns how many times faster `one` takes a step: the median of rounds' ratios.

    Turns of a round are neighbours in time, so that what slows the machine for a while
    slows both.
    """
    pairs = zip(other.times, one.times, strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def fastest(contenders: Sequence[Contender]) -> Contender | None:
    """Returns the one with the shortest steps; None where none was timed."""
    timed = [contender for contender in contenders if contender.times]
    return min(timed, key=lambda contender: contender.milliseconds, default=None)


def references(
    contenders: Sequence[Contender],
) -> tuple[Contender | None, Contender | None]:
    """Returns CAFFE and the faster PyTorch of a setting, None where not timed."""
    return (
        fastest([c for c in contenders if c.name == REFERENCE]),
        fastest([c for c in contenders if c.name.startswith(TORCH)]),
    )
