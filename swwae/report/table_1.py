"""The paper's Table 1 with our errors beside its own; evaluates what it lacks."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from generator.errors import UserError
from generator.paper import TABLE_1, TABLE_1_COLUMNS, TABLE_1_TRAIN_IMAGES
from swwae.base.progress import Counter
from swwae.base.project import RUNS, relative
from swwae.evaluation import results
from swwae.evaluation.evaluate import evaluated
from swwae.report.stages import Stage
from swwae.runs.run import Run

EVALUATED = (0, 4)
"""Stages that leave a classifier as it is used."""

TEST_SCHEMES = tuple(
    dict.fromkeys((scheme, split) for scheme, _, split in TABLE_1_COLUMNS)
)
"""Test schemes and splits of Table 1."""

IMAGES = {"train": TABLE_1_TRAIN_IMAGES, "val": None}
"""How many are classified, as in Table 1; None: all."""


@dataclass(frozen=True)
class Row:
    """A row of Table 1. errors: in percent, by column; l2: the mean of ||x^ - x||^2
    over the val images; None where it is not known."""

    title: str
    is_ours: bool
    errors: list[float | None]
    l2: float | None


@dataclass(frozen=True)
class Table1:
    """groups: variant -> its rows, the paper's last. commands: (what for, command line)
    of those that fill the empty cells. images: split -> numbers of images that errors
    are of."""

    groups: dict[str, list[Row]]
    commands: list[tuple[str, str]]
    images: dict[str, list[int]]


def table_1(stages: list[Stage], notices: list[str]) -> Table1:
    """Returns what is known of the stages that leave a classifier, beside the paper's.

    notices: sentences on damaged results are appended to it.
    """
    groups: dict[str, list[Row]] = {}
    commands: list[tuple[str, str]] = []
    images: dict[str, list[int]] = {}
    for stage in stages:
        if stage.run.stage not in EVALUATED:
            continue
        known = _results(stage, notices)
        groups.setdefault(stage.run.variant, []).append(_row(stage, known))
        for (_, split), result in known.items():
            images[split] = sorted({*images.get(split, ()), result["images"]})
        for scheme, split in TEST_SCHEMES:
            if (scheme, split) not in known:
                purpose = f"{stage.title}: {scheme}, {split}"
                commands.append((purpose, _command(stage, scheme, split)))
    for variant, rows in groups.items():
        if variant in TABLE_1:
            name, errors = TABLE_1[variant]
            rows.append(Row(f"{name}, paper", False, list(errors), None))
    return Table1(groups, commands, images)


def _row(stage: Stage, known: dict[tuple[str, str], dict]) -> Row:
    errors = []
    for scheme, k, split in TABLE_1_COLUMNS:
        result = known.get((scheme, split))
        errors.append(None if result is None else result[f"top{k}_error"])
    l2 = known.get(("single-crop", "val"), {}).get("recon_l2")
    return Row(stage.title, True, errors, l2)


def _results(stage: Stage, notices: list[str]) -> dict[tuple[str, str], dict]:
    """Returns, by scheme and split, the known result of the most images."""
    try:
        known = [r for r in results.known(stage.run) if _at_run_depth(stage.run, r)]
    except UserError as error:
        notices.append(str(error))
        return {}
    known.sort(key=lambda result: result["images"])
    return {(result["scheme"], result["split"]): result for result in known}


def _at_run_depth(run: Run, result: dict) -> bool:
    """Tells whether a result is decoded from where the run was trained for, not from
    below.

    Raises UserError where the network has no such layer.
    """
    if result["depth"] is None:
        return True
    return Run(run.net, run.variant, 4, result["depth"]).depth == run.depth


def _command(stage: Stage, scheme: str, split: str) -> str:
    """Returns the command line that fills the cells; of an unfinished stage, the one
    that goes on with it."""
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

    notices: sentences on what cannot be computed are appended to it. progress: is
    called with what is being evaluated, how many images are done, and of how many.
    """
    missing = []
    for stage in stages:
        if stage.run.stage in EVALUATED and stage.is_finished:
            known = _results(stage, notices)
            missing += [(stage, *test) for test in TEST_SCHEMES if test not in known]
    for index, (stage, scheme, split) in enumerate(missing, start=1):
        what = f"{stage.title}: {scheme}, {split}"
        counter = partial(progress, f"{what} ({index} of {len(missing)})")
        depth, count = stage.run.depth, IMAGES[split]
        try:
            evaluated(stage.run, scheme, split, depth, count, counter)
        except UserError as error:
            notices.append(f"{what} was not evaluated: {error}")


class EvaluationProgress:
    """Shows on stderr how far evaluations are, one after another."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        """announce: is called with a line when another evaluation begins."""
        self._announce = announce
        self._what = ""
        self._counter: Counter | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._counter is None or what != self._what:
            self._what = what
            self._counter = Counter(total, "images")
            self._announce(f"evaluating {what}: {total:,} images")
        self._counter(done)
