"""The tables of a report beside Table 1: losses, activations, provenance, data."""

from dataclasses import dataclass
from typing import Any

from generator.errors import UserError
from swwae.base.project import ROOT, relative
from swwae.engine import cards
from swwae.images.database import Database
from swwae.images.preprocessing import Preprocessing
from swwae.nets import data_layers, network
from swwae.report.stages import Stage
from swwae.report.values import command_text, mapping, number, text
from swwae.stages.changes import recorded_file
from swwae.stages.status import earlier_devices

# --- losses


@dataclass(frozen=True)
class Loss:
    """A loss at the end of a stage: raw values of the last training batch that was
    displayed and of the last test, and its weight in the total; None where there is
    none."""

    name: str
    weight: float | None
    training: Any
    test: Any

    def weighted(self, value: Any) -> float | None:
        """Returns a raw value times the weight; None where either is no number."""
        if self.weight is None or number(value) is None:
            return None
        return self.weight * value


def losses(stage: Stage) -> list[Loss]:
    """Returns a stage's losses, the image's first, then macro-layer by macro-layer."""
    training = mapping(stage.status.get("final_losses"))
    test = mapping(stage.status.get("test_outputs"))
    names = list(dict.fromkeys([*training, *test]))
    order = _reconstruction_losses(stage)
    rank = {name: index for index, name in enumerate([*order, "loss"])}
    names.sort(key=lambda name: rank.get(name, len(rank) + (name == "total")))
    return [
        Loss(
            name,
            number(mapping(training.get(name)).get("weight")),
            mapping(training.get(name)).get("value"),
            mapping(test.get(name)).get("value"),
        )
        for name in names
    ]


@dataclass(frozen=True)
class Activation:
    """The mean square of an encoder's activation before and after joint training."""

    name: str
    before: float | None
    after: float | None

    @property
    def share(self) -> float | None:
        """Returns `after` in percent of `before`; None where either is not known."""
        if not self.before or self.after is None:
            return None
        return 100 * self.after / self.before


def activations(stage: Stage) -> list[Activation]:
    """Returns what a joint stage did to the activations that it reconstructs, as its
    status.json says."""
    recorded = mapping(stage.status.get("activations"))
    squares = {name: mapping(value) for name, value in recorded.items()}
    return [
        Activation(name, number(square.get("before")), number(square.get("after")))
        for name, square in squares.items()
    ]


def _reconstruction_losses(stage: Stage) -> list[str]:
    """Returns the blobs of the reconstruction losses, in the order in which the network
    computes what they compare with."""
    if not stage.run.network.is_file():
        return []
    try:
        layers = network.read(stage.run.network).layer
    except UserError:
        return []
    computed_by: dict[str, int] = {}  # blob -> the index of the first layer
    for index, layer in enumerate(layers):
        for blob in layer.top:
            computed_by.setdefault(blob, index)
    first_needed = {
        layer.top[0]: min(computed_by[blob] for blob in layer.bottom)
        for layer in layers
        if layer.type == "EuclideanLoss"
        and layer.top
        and computed_by.keys() >= {*layer.bottom}
    }
    return sorted(first_needed, key=first_needed.__getitem__)


# --- provenance


def provenance(stage: Stage) -> list[tuple[str, str]]:
    """Returns what status.json says of how a stage was run, as (name, value) lines."""
    status = stage.status
    rows = [
        ("command", stage.command),
        ("Caffe's command", command_text(status.get("caffe_command"))),
        ("started", status.get("started")),
        ("ended", status.get("ended")),
        ("resumed from iterations", text(status.get("resumed_from"))),
        ("seed", status.get("seed")),
        ("device", status.get("device")),
        *cards.describe(status.get("gpu")),
        ("trained before on", earlier_devices(status)),
        ("host", text(status.get("host"))),
    ]
    for name, version in mapping(status.get("versions")).items():
        rows.append((f"version of {name}", version))
    for key, name in (
        ("network", "network"),
        ("solver", "solver"),
        ("weights_in", "weights it began from"),
        ("weights_out", "weights it left"),
    ):
        if file := recorded_file(status.get(key)):
            rows.append((name, f"{file['path']}, SHA-256 {file['sha256']}"))
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


# --- data


@dataclass(frozen=True)
class DataSet:
    """What an LMDB holds: the number of images, and bytes on the disk; None where it is
    not there, or no LMDB."""

    path: str
    images: int | None
    bytes: int | None


def data_sets(stages: list[Stage], notices: list[str]) -> list[DataSet]:
    """Returns what the stages' networks read, as it is now.

    notices: sentences on what cannot be read are appended to it.
    """
    sources: dict[str, None] = {}
    for stage in stages:
        if stage.run.stage == 1:
            continue
        try:
            sources |= dict.fromkeys(
                data_layers.sources(network.read(stage.run.network))
            )
        except UserError as error:
            notices.append(str(error))
    data = []
    for source in sources:
        path = ROOT / source
        try:
            count = len(Database(path, Preprocessing((1, 1, 1), (0.0,))))
            size = sum(file.stat().st_blocks * 512 for file in path.iterdir())
        except UserError as error:
            notices.append(str(error))
            count = size = None
        data.append(DataSet(relative(path), count, size))
    return data
