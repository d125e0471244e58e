"""What a process of a comparison builds, and how it refuses."""

import json
from dataclasses import asdict, dataclass

KINDS = ("caffe", "torch", "torch-channels-last")


@dataclass(frozen=True)
class Job:
    """What a worker builds.

    kind: one of KINDS. net, solver, inputs: paths of files, as `setup.prepare` writes
    them. weights: a path without its suffix; Caffe reads .caffemodel, or .npz where
    that is all there is, PyTorch .npz. updates: whether it takes whole training steps,
    or has forward and backward passes alone. gpu: the card's number; None: the CPU.
    math: of `maths.MATHS`. compiled: whether PyTorch compiles it. python: the
    interpreter; None: this one.
    """

    kind: str
    threads: int
    net: str
    solver: str
    inputs: str
    weights: str
    updates: bool
    gpu: int | None = None
    math: str = "fp32"
    compiled: bool = False
    python: str | None = None

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Returns the job that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Returns the job as JSON, for the command line of `serve`."""
        return json.dumps(asdict(self))


class Refused(Exception):
    """Why a side cannot have a network: a sentence without its full stop."""
