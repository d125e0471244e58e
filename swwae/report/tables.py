"""The tables of a report: Table 1 with the paper's rows, losses, provenance, data."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log10
from typing import Any

from generator.errors import UserError
from generator.paper import TABLE_1, TABLE_1_COLUMNS, TABLE_1_TRAIN_IMAGES
from swwae.base.progress import duration
from swwae.base.project import ROOT, RUNS, relative
from swwae.evaluation import results
from swwae.evaluation.evaluate import evaluated
from swwae.images.database import Database
from swwae.images.preprocessing import Preprocessing
from swwae.nets import data_layers, network
from swwae.report.stages import (
    Stage,
    command_text,
    number,
)
from swwae.runs.run import Run
from swwae.stages.status import recorded_file

EVALUATED = (0, 4)
"""Stages that leave a classifier as it is used."""


TEST_SCHEMES = tuple(
    dict.fromkeys((scheme, split) for scheme, _, split in TABLE_1_COLUMNS)
)
"""Test schemes and splits of Table 1."""


IMAGES = {"train": TABLE_1_TRAIN_IMAGES, "val": None}
"""How many are classified, as in Table 1; None: all."""


NONE = "\N{EN DASH}"
"""In the cell of what there is none of."""


# --- Table 1


@dataclass(frozen=True)
class Row:
    """Of Table 1: whose, the errors in percent by column, ||x^ - x||^2 of the val
    images; None where it is not known."""

    title: str
    is_ours: bool
    errors: list[float | None]
    l2: float | None


@dataclass(frozen=True)
class Table1:
    """groups: variant -> its rows, the paper's last. commands: that fill the cells
    which are empty, each with what it is for. images: split -> how many there were of
    it."""

    groups: dict[str, list[Row]]
    commands: list[tuple[str, str]]
    images: dict[str, list[int]]


def table_1(stages: list[Stage], notices: list[str]) -> Table1:
    """What is known of the stages that leave a classifier, beside Table 1."""
    groups: dict[str, list[Row]] = {}
    commands: list[tuple[str, str]] = []
    images: dict[str, list[int]] = {}
    for stage in stages:
        if stage.run.stage not in EVALUATED:
            continue
        found = _results(stage, notices)
        row = _row(stage, found)
        groups.setdefault(stage.run.variant, []).append(row)
        for (_, split), result in found.items():
            images[split] = sorted({*images.get(split, ()), result["images"]})
        for scheme, split in TEST_SCHEMES:
            if (scheme, split) not in found:
                purpose = f"{stage.title}: {scheme}, {split}"
                commands.append((purpose, _command(stage, scheme, split)))
    for variant, rows in groups.items():
        if variant in TABLE_1:
            name, errors = TABLE_1[variant]
            rows.append(Row(f"{name}, paper", False, list(errors), None))
    return Table1(groups, commands, images)


def _row(stage: Stage, found: dict[tuple[str, str], dict]) -> Row:
    errors = []
    for scheme, k, split in TABLE_1_COLUMNS:
        result = found.get((scheme, split))
        errors.append(None if result is None else result[f"top{k}_error"])
    l2 = found.get(("single-crop", "val"), {}).get("recon_l2")
    return Row(stage.title, True, errors, l2)


def _results(stage: Stage, notices: list[str]) -> dict[tuple[str, str], dict]:
    """By scheme and split, the known result of the most images."""
    try:
        known = [r for r in results.known(stage.run) if _is_of_own_depth(stage.run, r)]
    except UserError as error:
        notices.append(str(error))
        return {}
    known.sort(key=lambda result: result["images"])
    return {(result["scheme"], result["split"]): result for result in known}


def _is_of_own_depth(run: Run, result: dict) -> bool:
    """Not decoded from a lower layer than the run was trained for.

    Raises UserError where the network has no such layer.
    """
    if result["depth"] is None:
        return True
    return Run(run.net, run.variant, 4, result["depth"]).depth == run.depth


def _command(stage: Stage, scheme: str, split: str) -> str:
    """What fills the cells; where the stage is not finished, what goes on with it."""
    run = stage.run
    if not stage.is_finished:
        return stage.command
    words = ["tools/evaluate.py", "--net", run.net, "--variant", run.variant]
    if run.depth is not None:
        words += ["--depth", str(run.depth)]
    if run.stage != 4 or run.root != RUNS:
        words += ["--weights", relative(run.final_weights)]
    return shlex.join([*words, "--scheme", scheme, "--split", split])


def evaluate_missing(
    stages: list[Stage],
    notices: list[str],
    progress: Callable[[str, int, int], None],
) -> None:
    """Computes and records what Table 1 lacks of finished stages.

    notices: is given a sentence for what cannot be computed. progress: is told what is
    being evaluated, how many images are done, and of how many.
    """
    missing = []
    for stage in stages:
        if stage.run.stage in EVALUATED and stage.is_finished:
            found = _results(stage, notices)
            missing += [(stage, *own) for own in TEST_SCHEMES if own not in found]
    for index, (stage, scheme, split) in enumerate(missing, start=1):
        what = f"{stage.title}: {scheme}, {split}"
        tell = partial(progress, f"{what} ({index} of {len(missing)})")
        depth, count = stage.run.depth, IMAGES[split]
        try:
            evaluated(stage.run, scheme, split, depth, count, tell)
        except UserError as error:
            notices.append(f"{what} was not evaluated: {error}")


# --- losses


@dataclass(frozen=True)
class Loss:
    """At the end of a stage: raw values of the last training batch that was displayed
    and of the last test, and the weight in the total; None where there is none."""

    name: str
    weight: float | None
    training: Any
    test: Any

    def weighted(self, value: Any) -> float | None:
        if self.weight is None or number(value) is None:
            return None
        return self.weight * value


def losses(stage: Stage) -> list[Loss]:
    """What the losses came to, the image's first, then macro-layer by macro-layer."""
    training = _dict(stage.status.get("final_losses"))
    test = _dict(stage.status.get("test_outputs"))
    names = list(dict.fromkeys([*training, *test]))
    order = _reconstruction_losses(stage)
    rank = {name: index for index, name in enumerate([*order, "loss"])}
    names.sort(key=lambda name: rank.get(name, len(rank) + (name == "total")))
    return [
        Loss(
            name,
            number(_dict(training.get(name)).get("weight")),
            _dict(training.get(name)).get("value"),
            _dict(test.get(name)).get("value"),
        )
        for name in names
    ]


@dataclass(frozen=True)
class Activation:
    """Mean square of an encoder's activation before and after joint training."""

    name: str
    before: float | None
    after: float | None

    @property
    def share(self) -> float | None:
        """Of what it was, in percent; None where that cannot be told."""
        if not self.before or self.after is None:
            return None
        return 100 * self.after / self.before


def activations(stage: Stage) -> list[Activation]:
    """What a joint stage did to the activations that it reconstructs (status.json)."""
    return [
        Activation(
            name, number(_dict(each).get("before")), number(_dict(each).get("after"))
        )
        for name, each in _dict(stage.status.get("activations")).items()
    ]


def _reconstruction_losses(stage: Stage) -> list[str]:
    """Their blobs, in the order in which the network makes what they compare with."""
    if not stage.run.network.is_file():
        return []
    try:
        layers = network.read(stage.run.network).layer
    except UserError:
        return []
    made: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for blob in layer.top:
            made.setdefault(blob, index)
    found = {
        layer.top[0]: min(made[blob] for blob in layer.bottom)
        for layer in layers
        if layer.type == "EuclideanLoss"
        and layer.top
        and made.keys() >= {*layer.bottom}
    }
    return sorted(found, key=found.__getitem__)


# --- provenance


def provenance(stage: Stage) -> list[tuple[str, str]]:
    """What status.json says of how a stage was made, line by line."""
    status = stage.status
    rows = [
        ("command", stage.command),
        ("Caffe's command", command_text(status.get("caffe_command"))),
        ("started", status.get("started")),
        ("ended", status.get("ended")),
        ("resumed from iterations", _text(status.get("resumed_from"))),
        ("seed", status.get("seed")),
        ("device", status.get("device")),
        ("host", _text(status.get("host"))),
    ]
    for name, version in _dict(status.get("versions")).items():
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


def _text(value: Any) -> str:
    """A JSON value in words."""
    if isinstance(value, dict):
        pairs = ((key, _text(each)) for key, each in value.items())
        return ", ".join(f"{key} {text}" for key, text in pairs if text)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


# --- data


@dataclass(frozen=True)
class DataSet:
    """images: how many; bytes: on the disk; None where it is not there, or no LMDB."""

    path: str
    images: int | None
    bytes: int | None


def data_sets(stages: list[Stage], notices: list[str]) -> list[DataSet]:
    """What the stages' networks read, as it is now."""
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
    found = []
    for source in sources:
        path = ROOT / source
        try:
            count = len(Database(path, Preprocessing((1, 1, 1), (0.0,))))
            size = sum(file.stat().st_blocks * 512 for file in path.iterdir())
        except UserError as error:
            notices.append(str(error))
            count = size = None
        found.append(DataSet(relative(path), count, size))
    return found


# --- figures for people


def number_text(value: Any, form: str = ".4g") -> str:
    """A number; what else a JSON file holds in its place, as it is."""
    if number(value) is None:
        return NONE if value is None else str(value)
    return f"{value:{form}}"


def seconds_text(value: Any) -> str:
    """75 -> 1:15; a dash for what is no number."""
    seconds = number(value)
    return NONE if seconds is None else duration(seconds)


def bytes_text(value: Any) -> str:
    """1500000 -> 1.5 MB; a dash for what is no number."""
    size = number(value)
    if size is None:
        return NONE
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(log10(size)) // 3, 3)
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"
