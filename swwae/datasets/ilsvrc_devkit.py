"""Reads ILSVRC 2012's development kit: which class each validation image is of."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.errors import UserError
from swwae.base.processes import EndedEarly, isolated

SYNSETS = "data/meta.mat"
GROUND_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"


@dataclass(frozen=True)
class Devkit:
    """classes: WNIDs, sorted, as the labels of Caffe's released models count them.

    labels: uint16; that of ILSVRC2012_val_00000001 comes first.
    """

    classes: tuple[str, ...]
    labels: np.ndarray


def read(path: Path) -> Devkit:
    """Reads the devkit, its .tar.gz or the folder that was unpacked from it.

    A line of the ground truth is an ILSVRC2012_ID; meta.mat tells its WNID. Only
    synsets without children are classes. Raises UserError where a file is missing or
    the two do not fit.
    """
    mat, truth = (_content(path, name) for name in (SYNSETS, GROUND_TRUTH))
    try:
        wnids = isolated(_wnids, mat)  # scipy dies of some files (SIGSEGV)
    except (ValueError, EndedEarly) as error:
        reason = "it is damaged" if isinstance(error, EndedEarly) else error
        raise UserError(
            f"{path}: {SYNSETS} is not the devkit's table of synsets ({reason}): "
            "expected `synsets` with ILSVRC2012_ID, WNID and num_children; fetch it "
            "again"
        ) from error
    classes = tuple(sorted(wnids.values()))
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    labels = []
    for number, line in enumerate(truth.decode("latin-1").splitlines(), 1):
        text = line.strip()
        if not (text.isdecimal() and int(text) in wnids):
            raise UserError(
                f"{path}: line {number} of {GROUND_TRUTH} should be the ILSVRC2012_ID "
                f"of one of {SYNSETS}'s {len(classes)} classes, found {text!r}: fetch "
                "the devkit again"
            )
        labels.append(label_of[wnids[int(text)]])
    return Devkit(classes, np.array(labels, np.uint16))


def _wnids(mat: bytes) -> dict[int, str]:
    """Returns the WNID of every synset without children, by its ILSVRC2012_ID; raises
    ValueError where meta.mat, given as bytes, does not tell."""
    from scipy.io import loadmat  # here, because it is slow to import

    try:
        synsets = loadmat(io.BytesIO(mat), squeeze_me=True)["synsets"]
        return {
            int(synset["ILSVRC2012_ID"]): str(synset["WNID"])
            for synset in np.atleast_1d(synsets)
            if int(synset["num_children"]) == 0
        }
    except Exception as error:  # damaged bytes raise whatever they happen upon
        raise ValueError(str(error)) from None


def _content(path: Path, name: str) -> bytes:
    """Returns a file of the devkit, whose own folder may or may not be around it."""
    try:
        if path.is_dir():
            candidates = [path / name, *sorted(path.glob(f"*/{name}"))]
            found = next((file for file in candidates if file.is_file()), None)
            if found:
                return found.read_bytes()
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isreg() and f"/{member.name}".endswith(f"/{name}"):
                        return archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(":")  # tarfile says several
        raise UserError(
            f"{path} cannot be read as ILSVRC 2012's devkit ({reason}): give --devkit "
            f"{ARCHIVE}, or the folder that was unpacked from it"
        ) from error
    raise UserError(
        f"{path} has no {name}: give --devkit {ARCHIVE}, or the folder that was "
        "unpacked from it"
    )
