"""Whose results or losses are not to be trusted."""

from collections.abc import Iterable

from swwae.bench.contender import REFERENCE, Contender
from swwae.bench.maths import MATHS

BOUND = 1e-3
"""The largest relative difference (Euclidean norms) that counts as the same result.
Where CAFFE's own results change more with disturbed weights, so much counts: a single
switch that falls the other way changes a gradient by more."""


def faults(contenders: Iterable[Contender]) -> list[str]:
    """Returns a sentence for every result that differs from CAFFE's, and for every
    contender whose loss is not finite."""
    contenders = list(contenders)
    disturbed = {c.setting: c.differences for c in contenders if c.name == REFERENCE}
    sentences = []
    for one in contenders:
        for part, difference in one.differences.items():
            bound = max(BOUND, disturbed[one.setting][part].l2)
            if difference.l2 > bound and one.name != REFERENCE:
                sentences.append(
                    f"{one.title}: {part} of {difference.l2_of} differ from CAFFE's by"
                    f" {difference.l2:.2g}, more than {bound:.2g}: that is another"
                    " result, and its time says nothing."
                )
        if not one.finite:
            sentences.append(not_finite(one))
    return sentences


def faults_on_gpu(contenders: Iterable[Contender]) -> list[str]:
    """Returns a sentence for every result of a card that differs from the CPU's by more
    than its math's bound, every loss that is not finite, and every process that died
    or could not begin.

    PyTorch's gradients are not judged: a switch that falls the other way is no mistake.
    """
    sentences = []
    for one in contenders:
        math = MATHS[one.job.math]
        ours = one.job.kind == "caffe"
        bounds = {"outputs": math.bound if ours else math.torch_bound}
        if ours:
            bounds["gradients"] = math.bound
        for part, bound in bounds.items():
            difference = one.differences.get(part)
            if difference and bound is not None and not difference.l2 <= bound:
                sentences.append(
                    f"{one.name}: {part} of {difference.l2_of} differ from the CPU's by"
                    f" {difference.l2:.2g}, more than {bound:.2g}: that is another"
                    " result, and its time says nothing."
                )
        if not one.finite:
            sentences.append(not_finite(one))
        if one.died:
            sentences.append(f"{one.refused}.")
    return list(dict.fromkeys(sentences))


def not_finite(one: Contender) -> str:
    """Returns the sentence on a loss that is none."""
    return (
        f"{one.title}: the loss is not finite after these steps; give weights that work"
        " with --weights FILE."
    )
