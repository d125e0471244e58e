"""Short trainings by `caffe train` that are watched loss by loss and then forgotten.

Unlike a stage's, a trial goes on when a loss is no longer finite, and makes no weights.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from generator.names import DECODER, RECONSTRUCTION
from swwae.base.files import whole_file
from swwae.base.project import CAFFE, relative
from swwae.engine import devices
from swwae.engine.cards import Card
from swwae.engine.log import (
    Fatal,
    Iteration,
    LearningRate,
    Output,
    parse_line,
)
from swwae.engine.process import running


@dataclass
class Trial:
    """A short training.

    solver: its settings; weights: what it starts from. place: the path, less its
    suffix, of the log and the solver that `losses` writes. threads: it computes with so
    many, None for as many as the environment says. gpu: its number, None for the CPU.
    """

    solver: caffe_pb2.SolverParameter
    weights: Path
    place: Path
    threads: int | None = None
    gpu: int | None = None
    stopped: bool = field(default=False, init=False)
    _process: Popen[str] | None = field(default=None, init=False)

    def losses(self) -> Iterator[dict[str, float]]:
        """Yields blob -> raw value of every loss, before each update in turn.

        Closing the iterator ends Caffe. Raises UserError where Caffe ends by itself
        too early.
        """
        log = self.place.with_name(f"{self.place.name}.log")
        outputs: dict[str, float] = {}
        fatal = None
        cards: dict[int, Card] = {}
        with (
            running(self._command(), self._environment) as process,
            log.open("w", encoding="utf-8") as file,
        ):
            self._process = process
            if self.stopped:
                process.kill()
            for line in process.stdout:
                file.write(line)
                event = parse_line(line)
                if isinstance(event, Iteration):
                    outputs = {}
                elif isinstance(event, Output) and event.weight is not None:
                    outputs[event.name] = event.value
                elif isinstance(event, LearningRate):
                    yield outputs
                elif isinstance(event, Card):
                    cards[event.number] = event
                elif isinstance(event, Fatal):
                    fatal = event.message.strip()
            code = process.wait()
        if code and not self.stopped:
            reason = f"exit code {code}"
            if fatal:
                reason = _explained(fatal, list(cards.values()))
            if code == -signal.SIGKILL:
                reason = "it was killed, as is done when memory runs out"
            raise UserError(f"Caffe stopped: {reason}. The log is {relative(log)}.")

    def stop(self) -> None:
        """Ends it from another thread: `losses` yields no more."""
        self.stopped = True
        if self._process is not None:
            self._process.kill()

    def _command(self) -> list[str]:
        solver = caffe_pb2.SolverParameter()
        solver.CopyFrom(self.solver)
        for name in ("test_iter", "test_interval", "test_net", "test_net_param"):
            solver.ClearField(name)
        solver.display = 1
        solver.snapshot = 0
        solver.snapshot_after_train = False
        solver.stop_if_not_finite = False
        solver.solver_mode = solver.CPU if self.gpu is None else solver.GPU
        solver.snapshot_prefix = relative(self.place)
        path = self.place.with_name(f"{self.place.name}.prototxt")
        with whole_file(path, "w") as file:
            file.write(text_format.MessageToString(solver))
        command = [
            relative(CAFFE),
            "train",
            f"--solver={relative(path)}",
            f"--weights={relative(self.weights)}",
        ]
        return command + ([] if self.gpu is None else [f"--gpu={self.gpu}"])

    @property
    def _environment(self) -> dict[str, str]:
        if self.threads is None:
            return {}
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(self.threads))


def _explained(fatal: str, cards: list[Card]) -> str:
    """Returns Caffe's last words, or what they mean of the GPUs that it named."""
    if devices.is_out_of_memory(fatal):
        which = " and ".join(map(str, cards)) or "the GPU"
        known = [card.megabytes for card in cards if card.megabytes]
        has = f", which has {min(known):,} MB," if known else ""
        return (
            f"{which}{has} ran out of memory: let less compute there at once, or make"
            " batch_size in the network's training data layer smaller"
        )
    return devices.explained(CAFFE, fatal, cards) or fatal


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction loss. index: of the activation, 0 for the image.

    blob: of the loss; rate: lr_mult of the decoder that ends in it; weight: its
    loss_weight.
    """

    index: int
    blob: str
    rate: float
    weight: float


def reconstructions(net: caffe_pb2.NetParameter) -> list[Reconstruction]:
    """Returns a network's reconstruction losses, the image's first.

    The generator's networks decode from the deepest macro-layer to the image, so that
    the last loss is the image's.
    """
    found = []
    rate = 1.0
    for layer in net.layer:
        if layer.name.startswith(RECONSTRUCTION):
            weight = _decimal(layer.loss_weight[0]) if layer.loss_weight else 1.0
            found.append((layer.top[0], rate, weight))
        elif layer.name.startswith(DECODER) and layer.param:
            rate = _decimal(layer.param[0].lr_mult)
    return [
        Reconstruction(index, *values) for index, values in enumerate(reversed(found))
    ]


def _decimal(value: float) -> float:
    """Returns the number that a network's file gave, which a float32 holds nearly."""
    return float(f"{value:.7g}")
