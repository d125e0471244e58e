"""What has been measured of a run's weights: results.json beside them.

It is a list of what tools/evaluate.py --json writes, each with the checksum of the
weights it is of; training that replaces the weights leaves old results behind, which
`known` passes over.
"""

import os
from functools import lru_cache
from pathlib import Path

from generator.errors import UserError
from swwae.base.files import write_json
from swwae.base.locks import locked
from swwae.base.project import relative
from swwae.evaluation import paper_table
from swwae.nets import weights
from swwae.runs.folders import stages_in
from swwae.runs.run import Run

NAME = "results.json"

KEY = ("net", "variant", "depth", "scheme", "split", "images", "seed")
"""What tells two results of the same weights apart."""

CHECKSUM = "weights_sha256"


def known(run: Run) -> list[dict]:
    """Returns results of a run's present weights, as its own network and variant.

    Each has the keys of evaluate.py's JSON. Raises UserError where the file is damaged.
    """
    if not run.is_finished():
        return []
    results = _read(run.folder / NAME)
    checksum = checksum_of(run.final_weights) if results else ""
    return [
        result
        for result in results
        if result[CHECKSUM] == checksum
        and (result["net"], result["variant"]) == (run.net, run.variant)
    ]


def checksum_of(weights_file: Path) -> str:
    """Returns the SHA-256 of a file, remembered as long as the file stays as it is."""
    status = weights_file.stat()
    return _checksum(weights_file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _checksum(path: Path, changed: int, size: int) -> str:
    return weights.sha256(path)


def record(run: Run, result: dict, checksum: str) -> bool:
    """Adds a result of the run's present weights, in place of an earlier one like it.

    result: the keys of evaluate.py's JSON. checksum: of the weights that it is of.
    Returns False, and records nothing, where those are the run's no longer. Raises
    UserError where the file is damaged, or cannot be written.
    """
    if not run.is_finished() or checksum_of(run.final_weights) != checksum:
        return False
    path = run.folder / NAME
    try:
        with locked(run.folder, wait=True):
            others = [
                other
                for other in _read(path)
                if other[CHECKSUM] == checksum and _key(other) != _key(result)
            ]
            write_json(path, [*others, result | {CHECKSUM: checksum}])
    except OSError as error:
        raise UserError(f"cannot write {relative(path)}: {error.strerror}.") from error
    return True


def find(run: Run, wanted: dict) -> dict | None:
    """Returns the known result that agrees in what tells results apart, or None."""
    return next((r for r in known(run) if _key(r) == _key(wanted)), None)


def owner(weights_file: Path) -> Run | None:
    """Returns the run whose final weights a file is; None where it is no run's."""
    path = Path(os.path.abspath(weights_file))
    try:
        stages = stages_in(path.parent)
    except UserError:
        return None
    return next((run for run in stages if run.final_weights == path), None)


def _key(result: dict) -> tuple:
    return tuple(result[name] for name in KEY)


def _read(path: Path) -> list[dict]:
    """Returns the results in a file; [] where there is none."""
    if not path.is_file():
        return []
    results = paper_table.read(path)
    if not all(map(_is_of_a_run, results)):
        raise UserError(
            f"{relative(path)} holds other things than results; remove it, and evaluate"
            " again."
        )
    return results


def _is_of_a_run(result: dict) -> bool:
    return result.keys() >= {*KEY, CHECKSUM} and isinstance(result["depth"], int | None)
