"""A run's snapshots: `snapshot_iter_<N>.caffemodel` and `.solverstate` beside it.

Each file is written as `<name>.part` and gets its name when the whole of it is on the
disk, the solver's state after the weights. It ends with a checksum, unless a Caffe
without our patches has made it.
"""

from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.nets import weights
from swwae.stages import checksums

PREFIX = "snapshot"
SOLVER_STATE = ".solverstate"
WEIGHTS = ".caffemodel"
UNFINISHED = ".part"


class Foreign(Exception):
    """A whole snapshot is of another network, or was renamed: a sentence says which."""


def solver_state(folder: Path, iteration: int) -> Path:
    return folder / f"{PREFIX}_iter_{iteration}{SOLVER_STATE}"


def weights_file(folder: Path, iteration: int) -> Path:
    return folder / f"{PREFIX}_iter_{iteration}{WEIGHTS}"


def iteration_of(path: Path) -> int:
    """Returns which iteration's snapshot a file is of."""
    return int(path.stem.rpartition("_")[2])


def iterations(folder: Path) -> list[int]:
    """Returns the iterations of all snapshots, whole or not, newest first."""
    found = {
        iteration_of(path)
        for path in folder.glob(f"{PREFIX}_iter_*")
        if path.suffix in (SOLVER_STATE, WEIGHTS)
    }
    return sorted(found, reverse=True)


def newest_whole(folder: Path, wanted: weights.Shapes) -> tuple[int | None, list[str]]:
    """Returns the iteration of the newest snapshot that Caffe can resume from.

    Beside it, sentences on the newer ones, which cannot be used: they end too early, or
    are not as they were written. wanted: the shapes of the network's parameters. Raises
    Foreign where one is whole, but not this run's.
    """
    skipped = []
    for iteration in iterations(folder):
        fault = _fault(folder, iteration, wanted)
        if fault is None:
            return iteration, skipped
        skipped.append(f"snapshot {iteration} is skipped: {fault}")
    return None, skipped


def _fault(folder: Path, iteration: int, wanted: weights.Shapes) -> str | None:
    """Returns why a snapshot is not whole; None where it is. Raises Foreign."""
    path = solver_state(folder, iteration)
    if not path.is_file():
        return f"{path.name} is missing"
    if fault := _checksum_fault(path, weights_file(folder, iteration)):
        return fault
    try:
        state = _read_state(path)
    except DecodeError:
        return f"{path.name} is truncated"
    # Caffe always sets current_step, the last field in the file.
    if not state.HasField("current_step"):
        return f"{path.name} is truncated"
    if state.iter != iteration:
        raise Foreign(f"{relative(path)} is of iteration {state.iter:,}")
    return _weights_fault(weights_file(folder, iteration), wanted)


def _checksum_fault(*paths: Path) -> str | None:
    """Returns which of a snapshot's files is not as it was written; None where all are,
    and where none tells."""
    found = {path: checksums.check(path) for path in paths if path.is_file()}
    for path, right in found.items():
        if right is False:
            return f"{path.name} is damaged (its checksum is another)"
        if right is None and any(found.values()):
            return f"{path.name} is truncated (it has no checksum)"
    return None


def _weights_fault(path: Path, wanted: weights.Shapes) -> str | None:
    """Returns why a snapshot's weights are not whole; None where they are.

    Raises Foreign where they are another network's.
    """
    try:
        network = weights.load(path)
    except UserError:
        return f"{path.name} is missing or truncated"
    comparison = weights.compare(wanted, network)
    if comparison.different:
        layer = comparison.different[0]
        raise Foreign(f"{relative(path)} is of another network ({layer} differs)")
    if comparison.missing:
        layer = comparison.missing[0]
        raise Foreign(f"{relative(path)} is of another network ({layer} is not in it)")
    if layer := weights.not_finite(network):
        return f"layer {layer} in {path.name} holds numbers that are not finite"
    return None


def settle(folder: Path, iteration: int) -> None:
    """Makes a snapshot at home where it lies, which may not be where it was written.

    A solver's state names the file of its weights, which is where Caffe looks for them.
    Raises UserError where it cannot be written.
    """
    path = solver_state(folder, iteration)
    has_checksum = checksums.check(path)
    state = _read_state(path)
    here = relative(weights_file(folder, iteration))
    if state.learned_net != here:
        state.learned_net = here
        content = state.SerializeToString()
        with whole_file(path) as file:
            file.write(checksums.added(content) if has_checksum else content)


def _read_state(path: Path) -> caffe_pb2.SolverState:
    return caffe_pb2.SolverState.FromString(checksums.removed(path.read_bytes()))


def prune(folder: Path, keep: int) -> None:
    """Removes what is older than the newest `keep` that are complete: the weights of a
    newer one may be there before its solver's state is."""
    complete = [i for i in iterations(folder) if solver_state(folder, i).is_file()]
    for iteration in iterations(folder):
        if complete and iteration < complete[:keep][-1]:
            remove(folder, iteration)


def remove_after(folder: Path, iteration: int) -> None:
    """Removes the snapshots of later iterations."""
    for later in iterations(folder):
        if later > iteration:
            remove(folder, later)


def remove_unfinished(folder: Path) -> None:
    """Removes what a process that was killed was about to write."""
    for path in folder.glob(f"{PREFIX}_iter_*{UNFINISHED}"):
        path.unlink()


def remove(folder: Path, iteration: int) -> None:
    """Removes an iteration's snapshot, whole or not."""
    # The solver's state first: without it the other is no snapshot.
    solver_state(folder, iteration).unlink(missing_ok=True)
    weights_file(folder, iteration).unlink(missing_ok=True)
