"""What a person asks of a stage."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_SEED = 1
"""Of Caffe's random numbers, where neither the person nor the solver names one."""

DEFAULT_KEEP = 2
"""Snapshots; the one before the newest is there if that is damaged (ours)."""


@dataclass(frozen=True)
class Request:
    """What a person asks of a stage, as `tools/run_stage.sh` takes it.

    command: the command line that goes on with the stage: the one that was given,
        without --force.
    weights: a .caffemodel to start from; None for what the stage before has left.
    max_iter: iterations in all; None for the solver's.
    seed: of Caffe's random numbers; None for the solver's, or DEFAULT_SEED.
    gpus: such as "0,1" or "all"; None for the first GPU, the CPU where there is none.
    math: of a GPU, one of `settings.MATH`; None for what the environment says, or the
        network.
    keep: whole snapshots that stay while it trains.
    force: start over, replacing the run's folder.
    """

    command: str
    weights: Path | None = None
    max_iter: int | None = None
    seed: int | None = None
    gpus: str | None = None
    math: str | None = None
    keep: int = DEFAULT_KEEP
    force: bool = False
