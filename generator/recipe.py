"""The training recipe of Section 4.1, as data: what each stage trains, and from what.

    stage  trains                                        network    starts from
    0      the plain classifier (ours)                   train_val  nothing
    1      nothing: pretrained classifier, new decoders  train_val  stage 0
    2      every macro-layer's decoder on its own        pretrain   stage 1
    3      the stacked decoder, where there is one       decoder    stage 2
    4      encoder, classifier and decoder               train_val  the stage before

A variant's stages are some of these, and some of them are another variant's runs:
stage 0 is the baseline's, and stages 1 and 2 belong to the family, so that swwae-first
and swwae-all share those of swwae-layerwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import names
from .errors import UserError
from .variants import VARIANTS, Variant


@dataclass(frozen=True)
class Stage:
    """One stage of the recipe.

    trains: what it does, a clause whose subject is the stage.
    network: the kind of network file that it works on.
    has: whether a variant has the stage.
    shared: the variant whose run a variant's stage is.
    obstacle: why a variant with a decoder has no such stage, and what to do instead; a
        sentence in which {variant} is its name.
    solver: whether `caffe train` runs it; False: it makes weights without training.
    fixed_encoder: whether the encoder stays as it is; the network then has no
        classifier, and reads no labels.
    """

    number: int
    trains: str
    network: str
    has: Callable[[Variant], bool]
    shared: Callable[[Variant], Variant]
    obstacle: str = ""
    solver: bool = True
    fixed_encoder: bool = False

    @property
    def purpose(self) -> str:
        """The stage in a sentence, as its solver's head has it."""
        return f"Stage {self.number}: {self.trains}."

    def check(self, variant: Variant) -> None:
        """Raises UserError, naming what to do, where a variant has no such stage."""
        if self.has(variant):
            return
        if variant.has_decoder:
            raise UserError(self.obstacle.format(variant=variant.name))
        *others, last = (str(s.number) for s in STAGES.values() if s.has(variant))
        raise UserError(
            f"stage {self.number} trains decoders and the {variant.name} has none;"
            f" its stages are {', '.join(others)} and {last}."
        )

    def owned_by(self, variant: Variant) -> bool:
        """Tells whether the stage is a run of the variant's own, not another one's."""
        return self.has(variant) and self.shared(variant).name == variant.name


def _every(variant: Variant) -> bool:
    return True


def _itself(variant: Variant) -> Variant:
    return variant


def _baseline(variant: Variant) -> Variant:
    return VARIANTS["baseline"]


def _layerwise(variant: Variant) -> Variant:
    return variant.layerwise


STAGES = {
    stage.number: stage
    for stage in (
        Stage(
            0,
            "trains the plain classifier",
            names.TRAIN_VAL,
            has=_every,
            shared=_baseline,
        ),
        Stage(
            1,
            "copies the pretrained classifier, adds fresh decoders",
            names.TRAIN_VAL,
            has=_every,
            shared=_layerwise,
            solver=False,
        ),
        Stage(
            2,
            "trains the layerwise decoders, the encoder fixed",
            names.PRETRAIN,
            has=lambda variant: variant.has_decoder,
            shared=_layerwise,
            fixed_encoder=True,
        ),
        Stage(
            3,
            "trains the stacked decoder, the encoder fixed",
            names.DECODER_ALONE,
            has=lambda variant: variant.stacked,
            shared=_itself,
            obstacle="stage 3 trains a stacked decoder and {variant} has none, so the"
            " paper skips it (Section 4.1); go on with stage 4.",
            fixed_encoder=True,
        ),
        Stage(
            4,
            "trains encoder, classifier and decoder together",
            names.TRAIN_VAL,
            has=_every,
            shared=_itself,
        ),
    )
}
"""Every stage, by its number (Section 4.1; stage 0 is ours)."""


def find_stage(number: int) -> Stage:
    """Returns a stage by its number; raises UserError where there is none."""
    if number not in STAGES:
        raise UserError(
            f"there is no stage {number}; stages are {min(STAGES)} to {max(STAGES)}."
        )
    return STAGES[number]


def previous(number: int, variant: Variant) -> Stage | None:
    """Returns the stage that a variant's stage starts from: the last one before it that
    the variant has; None: it starts from nothing."""
    before = [s for s in STAGES.values() if s.number < number and s.has(variant)]
    return before[-1] if before else None


def stages_owned_by(variant: Variant) -> list[Stage]:
    """Returns the stages that are trained with the variant's own networks, in order."""
    return [s for s in STAGES.values() if s.solver and s.owned_by(variant)]


MADE_ON_REQUEST = ("ladder",)
"""Variants of built-in networks that are not kept in models/ and solvers/, but made
when they are first used: the ladder (A2.4) is as large as three others and no row of
the paper's tables."""
