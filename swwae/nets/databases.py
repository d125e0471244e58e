"""What a network's data are looked at for before anything runs: whether the databases
are whole, and whether the network has an output for every label.

A database is looked at once: what was found is kept in the runs' folder, and holds as
long as the file's size and time stay.
"""

import hashlib
import json
import os
import re
import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.labels import comparisons
from generator.layers import Layer
from generator.lmdb_pages import FILE, Damaged
from generator.schema import layer_of
from generator.source import list_labels
from generator.survey import Kind, Ranges, Survey, ranges, survey
from swwae.base import project
from swwae.base.files import write_json
from swwae.base.progress import Counter
from swwae.base.project import ROOT, relative

KEPT = ".databases"
"""The folder in that of the runs."""

FEW_LABELS = re.compile(r"(?:un)?labelled(?:(\d+)_seed(\d+))?_lmdb")
"""What data/few_labels.py calls its databases: of how many labels, and the seed."""

SOURCES = {
    "ilsvrc12/train_lmdb": " --train SOURCE",
    "ilsvrc12/val_lmdb": " --val SOURCE",
    **{
        f"{name}/{split}_lmdb": " --source PATH"
        for name in ("cifar10", "cifar100", "svhn", "stl10")
        for split in ("train", "test")
    },
}
"""Options of a data set's command that have no default: by the database they make."""

SCRIPTS = {"cifar10": "cifar", "cifar100": "cifar"}
"""Sets that another folder's command makes: its name."""

MOST_RANGES = 10_000
"""Of labels that are kept; nobody's classes are so many."""


def check(net: caffe_pb2.NetParameter, path: Path, afresh: bool = False) -> None:
    """Raises UserError for the first database of a network that is damaged or empty, or
    has a label that the network has no output for.

    path: of the network's file. afresh: whether databases are looked at that were found
    whole before, too. What is missing is not looked for.
    """
    layers = [layer_of(layer) for layer in net.layer]
    shown = relative(path)
    for layer in layers:
        folder = lmdb_of(layer)
        if folder is not None:
            examined(folder, f"which {shown} reads, ", afresh)
    for comparison in comparisons(layers):
        labels = _labels(comparison.data)
        if labels:
            source = relative(source_of(comparison.data))
            if fault := comparison.fault(labels, source, shown):
                raise UserError(fault)


def examined(folder: Path, whose: str = "", afresh: bool = False) -> Survey:
    """Returns what is in an LMDB, every image of which is looked at, or was before.

    whose: a clause for the message. afresh: looks in any case. Where that takes long,
    stderr shows how far it is. Raises UserError where the database is damaged or empty.
    """
    known = None if afresh else _remembered(folder)
    if known is not None:
        return known
    before = _state(folder)
    try:
        title = f"checking {relative(folder)}"
        found = survey(folder, lambda total: Counter(total, "images", title=title))
    except Damaged as error:
        comma = f", {whose}" if whose else " "
        raise UserError(f"{relative(folder)}{comma}{error}: {_mend(folder)}.") from None
    _remember(folder, found, before)
    return found


def how_made(folder: Path) -> str | None:
    """Returns the command that makes a database; None where its folder and name do not
    tell."""
    data = folder.parent
    if few := FEW_LABELS.fullmatch(folder.name):
        beside = filter(None, map(FEW_LABELS.fullmatch, sorted(_names(data))))
        few = few if few[1] else next((each for each in beside if each[1]), few)
        drawn = f"--labels {few[1]} --seed {few[2]}" if few[1] else "--labels N"
        return f"data/few_labels.py {drawn} --data {shlex.quote(relative(data))}"
    script = data.with_name(SCRIPTS.get(data.name, data.name)) / "create.py"
    if not script.is_file():
        return None
    return relative(script) + SOURCES.get(f"{data.name}/{folder.name}", "")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _mend(folder: Path) -> str:
    command = how_made(folder)
    return f"run {command} --force" if command else "make the database again"


def lmdb_of(layer: Layer) -> Path | None:
    """Returns the LMDB that a layer reads; None where it reads none, or it is not
    there."""
    backend = layer.fields.get("data_param", {}).get("backend")
    if layer.type != "Data" or backend != "LMDB":
        return None
    folder = source_of(layer)
    return folder if (folder / FILE).is_file() else None


def sources(net: caffe_pb2.NetParameter) -> list[Path]:
    """Returns the folders of a network's databases, in the order of its layers."""
    layers = map(layer_of, net.layer)
    return [source_of(layer) for layer in layers if layer.type == "Data"]


def source_of(layer: Layer) -> Path:
    """Returns what a Data or ImageData layer reads: a folder, or a list of files."""
    kind = "image_data_param" if layer.type == "ImageData" else "data_param"
    return ROOT / str(layer.fields.get(kind, {}).get("source", ""))


def _labels(layer: Layer) -> Ranges:
    if layer.type == "ImageData":
        return ranges(list_labels(layer))
    folder = lmdb_of(layer)
    return examined(folder).labels if folder else ()


# --- what was found before


def _record_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return project.RUNS / KEPT / f"{name}.json"


def _state(folder: Path) -> dict[str, Any]:
    """Returns what tells one state of a database from another."""
    try:
        status = (folder / FILE).stat()
    except OSError:
        return {}
    return {
        "database": str(folder.resolve()),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _remembered(folder: Path) -> Survey | None:
    try:
        record = json.loads(_record_file(folder).read_text(encoding="utf-8"))
        if record["state"] == _state(folder):
            labels = tuple((int(first), int(last)) for first, last in record["labels"])
            kinds = tuple(_kind(**kind) for kind in record["kinds"])
            return Survey(int(record["images"]), labels, kinds)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _kind(least: list[int], most: list[int], **others: Any) -> Kind:
    return Kind(least=tuple(least), most=tuple(most), **others)


def _remember(folder: Path, found: Survey, state: dict[str, Any]) -> None:
    """Keeps what was found; where that cannot be written, nothing is kept.

    state: of the database, before it was looked at.
    """
    if len(found.labels) > MOST_RANGES:
        return
    file = _record_file(folder)
    with suppress(OSError, UserError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"state": state, **asdict(found)})
