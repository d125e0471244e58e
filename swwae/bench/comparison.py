"""Results of one pass as a file, and how much two of them differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PARTS = ("outputs", "gradients")


@dataclass(frozen=True)
class Difference:
    """The largest of several tensors' differences, relative to the reference's.

    l2: of the Euclidean norms; most: of the largest magnitudes; each with the name of
    the tensor.
    """

    l2: float
    l2_of: str
    most: float
    most_of: str


def write_results(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    gradients: Mapping[str, Sequence[np.ndarray]],
) -> None:
    """Writes a pass's results: blobs, and layer -> the gradients of its parameters."""
    arrays = {f"outputs/{name}": blob for name, blob in outputs.items()}
    for layer, parameters in gradients.items():
        flat = [np.asarray(gradient).ravel() for gradient in parameters]
        arrays[f"gradients/{layer}"] = np.concatenate(flat)
    np.savez(path, **arrays)


def differences(reference: Path, found: Path) -> dict[str, Difference]:
    """Returns, for each of PARTS, how much two files of `write_results` differ."""
    with np.load(reference) as expected, np.load(found) as compared:
        result = {}
        for part in PARTS:
            names = [name for name in expected.files if name.startswith(part)]
            if set(names) != {n for n in compared.files if n.startswith(part)}:
                raise ValueError(f"{part} of different names: a mistake in bench.py")
            result[part] = largest_difference(
                {
                    name.partition("/")[2]: relative_difference(
                        expected[name], compared[name]
                    )
                    for name in names
                }
            )
        return result


def largest_difference(by_name: Mapping[str, tuple[float, float]]) -> Difference:
    """Returns the largest of name -> (l2, most); nan counts as infinite."""

    def size(name: str, norm: int) -> float:
        value = by_name[name][norm]
        return value if value == value else float("inf")

    l2_of = max(by_name, key=lambda name: size(name, 0))
    most_of = max(by_name, key=lambda name: size(name, 1))
    return Difference(size(l2_of, 0), l2_of, size(most_of, 1), most_of)


def relative_difference(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Returns |found - expected| / |expected|, by Euclidean norms and by maxima.

    Where `expected` is all 0, each is 0 or infinite.
    """
    scale = float(np.abs(expected).max(initial=0))
    if scale == 0:
        equal = not np.any(found)
        return (0.0, 0.0) if equal else (float("inf"), float("inf"))
    # divided first: squares of gradients may be out of a float32's range
    expected, found = expected / scale, found.reshape(expected.shape) / scale
    difference = found - expected
    most = float(np.abs(difference).max())
    if most == 0:
        return 0.0, 0.0
    norm = most * float(np.linalg.norm(difference / np.float32(most)))
    return norm / float(np.linalg.norm(expected)), most
