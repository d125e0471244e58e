"""Two trainings, bit by bit: the final weights, the last snapshot and its history."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from swwae.runs.run import Run
from swwae.stages import checksums, snapshots


@dataclass(frozen=True)
class Compared:
    """A file that an undisturbed stage has left. differing: of its bits, those that the
    disturbed stage's file has not."""

    stage: int
    name: str
    bits: int
    differing: int


def compare(undisturbed: Run, disturbed: Run) -> list[Compared]:
    """Returns what two finished runs of a stage have left, compared."""
    names = [undisturbed.final_weights.name]
    for iteration in snapshots.iterations(undisturbed.folder)[:1]:
        names.append(snapshots.weights_file(undisturbed.folder, iteration).name)
        names.append(snapshots.solver_state(undisturbed.folder, iteration).name)
    found = []
    for name in names:
        one = _content(undisturbed.folder / name)
        other = _content(disturbed.folder / name)
        found.append(
            Compared(undisturbed.stage, name, 8 * len(one), differing_bits(one, other))
        )
    return found


def differing_bits(one: bytes, other: bytes) -> int:
    """Returns how many bits differ; all that only one of them has do."""
    common = min(len(one), len(other))
    both = [np.frombuffer(content[:common], np.uint8) for content in (one, other)]
    beyond = 8 * (max(len(one), len(other)) - common)
    return int(np.unpackbits(both[0] ^ both[1]).sum()) + beyond


def _content(path: Path) -> bytes:
    """Returns a file's content; of a solver's state without the path of its weights,
    which lie elsewhere. Nothing where there is no such file."""
    if not path.is_file():
        return b""
    content = path.read_bytes()
    if path.suffix != snapshots.SOLVER_STATE:
        return content
    state = caffe_pb2.SolverState.FromString(checksums.removed(content))
    state.ClearField("learned_net")
    return state.SerializeToString(deterministic=True)
