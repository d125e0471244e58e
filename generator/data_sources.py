"""How data layers name their databases: what Caffe does not take, and what to write."""

import os
from collections.abc import Iterable
from pathlib import Path

from .layers import Layer
from .lmdb_pages import FILE

KINDS = {FILE: "LMDB", "CURRENT": "LEVELDB"}
"""A file that tells what a database's folder is -> its backend."""

INSIDE = (FILE, "lock.mdb")
"""Files of an LMDB's folder."""


def is_database(folder: Path) -> bool:
    return any((folder / file).is_file() for file in KINDS)


def misnamed(layer: Layer, root: Path) -> str | None:
    """Returns what is wrong with how a Data layer names its database, and what to write
    instead; None where nothing is, as far as there are files to look at. A clause whose
    subject is the layer.

    root: the project's folder, which Caffe runs in.
    """
    fields = layer.fields.get("data_param", {})
    source = str(fields.get("source", ""))
    folder = root / source
    if folder.is_file():
        return f"reads {source}, {a_file(Path(source))}"
    backend = str(fields.get("backend", "LEVELDB"))
    found = [kind for file, kind in KINDS.items() if (folder / file).is_file()]
    if found and backend not in found:
        return (
            f"reads {source}, which is no {backend}: write backend: {found[0]} in its"
            " data_param"
        )
    return None


def a_file(path: Path) -> str:
    """Returns what to write in the place of a file that is named as a database: a
    clause."""
    mend = f"write its folder, {path.parent}" if path.name in INSIDE else "name an LMDB"
    return f"a file, where a database's folder is expected: {mend}"


def elsewhere(source: str, folders: Iterable[Path], root: Path) -> str | None:
    """Returns where a database or list is that is not in the project's folder, and what
    to write: a clause; None where it is in none of these folders either, nor under a
    name that only a shell understands.

    root: as of `misnamed`.
    """
    spelled_out = Path(os.path.expanduser(os.path.expandvars(source)))
    for path in (*(folder / source for folder in folders), spelled_out):
        there = Path(os.path.abspath(path))
        if there.name in INSIDE and there.is_file():
            there = there.parent
        if there.is_file() or is_database(there):
            return f"it is looked for in the project's folder, {root}; write {there}"
    return None
