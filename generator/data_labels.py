"""The labels and colours of the data that are there, before networks are generated for
them.

A stage looks at all of its data before it trains; here a word is had early, of what can
be known at once.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from .data_kinds import channels_fault, readers
from .errors import UserError
from .labels import comparisons
from .layers import Layer
from .lmdb_pages import FILE, Damaged
from .source import list_labels, lmdb_folder
from .stages import Plan
from .survey import Ranges, ranges, survey

LARGEST = 256 << 20
"""Bytes of a database that is looked at where no info.json tells its labels: a second's
work."""


def check_labels(plans: Sequence[Plan]) -> None:
    """Raises UserError where a database has labels that a network has no output for."""
    known: dict[str, Ranges | None] = {}
    for plan in plans:
        for file in plan.networks:
            for comparison in comparisons(file.layers):
                data = comparison.data
                source = _source(data)
                if source not in known:
                    known[source] = _labels(data)
                labels = known[source]
                fault = labels and comparison.fault(labels, source, plan.network.name)
                if fault:
                    raise UserError(fault)


def check_channels(plans: Sequence[Plan]) -> None:
    """Raises UserError where the first image of a database, or of a list of files, has
    other channels than its network reads."""
    checked = set()
    for plan in plans:
        image = plan.network.image
        for file in plan.networks:
            for layer in readers(file.layers, image.blob):
                read = _source(layer), str(layer.fields), image.shape
                if read in checked or len(image.shape) != 3:
                    continue
                checked.add(read)
                fault = channels_fault(
                    layer, image.shape[0], _source(layer), plan.network.name
                )
                if fault:
                    raise UserError(fault)


def _source(data: Layer) -> str:
    kind = "image_data_param" if data.type == "ImageData" else "data_param"
    return str(data.fields.get(kind, {}).get("source", ""))


def _labels(data: Layer) -> Ranges | None:
    """Returns a data layer's labels; None where they cannot be known at once."""
    if data.type == "ImageData":
        return ranges(list_labels(data)) or None
    folder = lmdb_folder(data)
    if folder is None:
        return None
    if counts := _counts(folder):
        return ranges(label for label, count in enumerate(counts) if count)
    try:
        if (folder / FILE).stat().st_size <= LARGEST:
            return survey(folder).labels
    except (Damaged, OSError):  # the stage says so, and how it is made again
        pass
    return None


def _counts(folder: Path) -> list[int]:
    """Returns the images of each label, of a database that create.py made."""
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        if info["bytes"] == (folder / FILE).stat().st_size:
            return [int(count) for count in info["images_per_label"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return []
