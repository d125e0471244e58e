"""Networks whose layers are included by stage alone, as NVIDIA DIGITS writes them.

One file for all: `train` and `val` are the training's two networks, `deploy` the one
that is used. Caffe builds none of these layers unless a solver names the stage; here
they become Caffe's phases.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from .errors import UserError
from .layers import PHASES, Enum, Fields, Layer, as_list

STAGES = {"TRAIN": "train", "TEST": "val"}
"""Phase -> DIGITS's stage."""

KNOWN = (*STAGES.values(), "deploy")


def by_phase(layers: list[Layer], path: Path) -> list[Layer]:
    """Returns the layers with rules of phases in the place of DIGITS's stages; without
    those that only the deployed network has.

    Raises UserError where all data layers are included by stages of other names. path:
    of the file.
    """
    used = {stage for layer in layers for stage in _stages(layer)}
    if not used & set(STAGES.values()) or not used <= set(KNOWN):
        _check_sources(layers, path)
        return layers
    return [kept for layer in layers for kept in _kept(layer)]


def _kept(layer: Layer) -> Iterable[Layer]:
    there = [phase for phase in PHASES if _is_built(layer, phase, STAGES[phase])]
    fields = {
        name: value
        for name, value in layer.fields.items()
        if name not in ("include", "exclude")
    }
    if len(there) == 1:
        fields["include"] = [{"phase": Enum(there[0])}]
    if there:
        yield replace(layer, fields=fields)


def _rules(layer: Layer, kind: str) -> list[Fields]:
    return as_list(layer.fields.get(kind))


def _stages(layer: Layer) -> Iterable[str]:
    for rule in (*_rules(layer, "include"), *_rules(layer, "exclude")):
        yield from as_list(rule.get("stage"))
        yield from as_list(rule.get("not_stage"))


def _is_built(layer: Layer, phase: str, stage: str) -> bool:
    """Tells whether Caffe builds a layer in a phase and a stage."""

    def meets(rule: Fields) -> bool:
        return (
            rule.get("phase", phase) == phase
            and rule.get("min_level", 0) <= 0 <= rule.get("max_level", 0)
            and all(each == stage for each in as_list(rule.get("stage")))
            and stage not in as_list(rule.get("not_stage"))
        )

    include = _rules(layer, "include")
    if include:
        return any(map(meets, include))
    return not any(map(meets, _rules(layer, "exclude")))


def _check_sources(layers: list[Layer], path: Path) -> None:
    sources = [layer for layer in layers if not layer.bottoms]
    if any(layer.in_phase(phase) for layer in sources for phase in PHASES):
        return
    for layer in sources:
        if stages := list(_stages(layer)):
            raise UserError(
                f"{path}: layer '{layer.name}' is included by stage ('{stages[0]}'),"
                " which Caffe builds only where a solver names it; write include {"
                " phase: TRAIN } or include { phase: TEST } instead, in every layer."
            )
