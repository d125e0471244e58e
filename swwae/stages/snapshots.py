"""A run's snapshots: `snapshot_iter_<N>.caffemodel` and `.solverstate` beside it."""

from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from generator.errors import UserError
from swwae.base.project import relative
from swwae.nets import weights

PREFIX = "snapshot"
SOLVER_STATE = ".solverstate"
WEIGHTS = ".caffemodel"


def solver_state(folder: Path, iteration: int) -> Path:
    return folder / f"{PREFIX}_iter_{iteration}{SOLVER_STATE}"


def weights_file(folder: Path, iteration: int) -> Path:
    return folder / f"{PREFIX}_iter_{iteration}{WEIGHTS}"


def iterations(folder: Path) -> list[int]:
    """Returns the iterations of all snapshots, whole or not, newest first."""
    found = {
        int(path.stem.rpartition("_")[2])
        for path in folder.glob(f"{PREFIX}_iter_*")
        if path.suffix in (SOLVER_STATE, WEIGHTS)
    }
    return sorted(found, reverse=True)


def newest_whole(folder: Path, wanted: weights.Shapes) -> tuple[int | None, list[str]]:
    """Returns the iteration of the newest snapshot that Caffe can resume from.

    Beside it, sentences on the newer ones, which cannot be used: a process killed while
    it writes, or a full disk, leaves files that end too early. wanted: the shapes of
    the network's parameters.
    """
    skipped = []
    for iteration in iterations(folder):
        fault = _fault(folder, iteration, wanted)
        if fault is None:
            return iteration, skipped
        skipped.append(f"snapshot {iteration} is skipped: {fault}")
    return None, skipped


def _fault(folder: Path, iteration: int, wanted: weights.Shapes) -> str | None:
    state_path = solver_state(folder, iteration)
    state = caffe_pb2.SolverState()
    if not state_path.is_file():
        return f"{state_path.name} is missing"
    try:
        state.ParseFromString(state_path.read_bytes())
    except DecodeError:
        return f"{state_path.name} is truncated"
    # Caffe always sets current_step, the last field in the file.
    if not state.HasField("current_step"):
        return f"{state_path.name} is truncated"
    expected = relative(weights_file(folder, iteration))
    if state.learned_net != expected:
        return f"it belongs to {state.learned_net}, not to {expected}"
    return _weights_fault(weights_file(folder, iteration), wanted)


def _weights_fault(path: Path, wanted: weights.Shapes) -> str | None:
    """Returns why a snapshot's weights are not the network's; None where they are."""
    try:
        network = weights.load(path)
    except UserError:
        return f"{path.name} is missing or truncated"
    comparison = weights.compare(wanted, network)
    if comparison.different:
        return f"{path.name} is of another network ({comparison.different[0]} differs)"
    if comparison.missing:
        return f"{path.name} lacks {comparison.missing[0]}"
    if layer := weights.not_finite(network):
        return f"layer {layer} in {path.name} holds numbers that are not finite"
    return None


def layer_not_finite(folder: Path, iteration: int) -> str | None:
    """Returns a layer whose weights are not finite; None, too, where they are torn."""
    try:
        return weights.not_finite(weights.load(weights_file(folder, iteration)))
    except UserError:
        return None


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep`."""
    for iteration in iterations(folder)[keep:]:
        remove(folder, iteration)


def remove_after(folder: Path, iteration: int) -> None:
    """Removes the snapshots of later iterations."""
    for later in iterations(folder):
        if later > iteration:
            remove(folder, later)


def remove(folder: Path, iteration: int) -> None:
    """Removes an iteration's snapshot, whole or not."""
    # The solver's state first: without it the other is no snapshot.
    solver_state(folder, iteration).unlink(missing_ok=True)
    weights_file(folder, iteration).unlink(missing_ok=True)
