"""What a comparison of two engines found: a table, a verdict in words, JSON."""

from collections.abc import Sequence
from statistics import mean, stdev

from swwae.base import provenance
from swwae.base.project import CAFFE
from swwae.base.tables import markdown
from swwae.experiments import paired_tests
from swwae.experiments.engines import ENGINES, EngineComparison, Row
from swwae.experiments.paired_tests import LEVEL, TESTS, Comparison


def comparison_table(
    comparisons: Sequence[Comparison], engines: tuple[str, str]
) -> str:
    """Returns a row a quantity, in Markdown."""
    first, second = engines
    head = ["", first, second, f"{second} − {first}", "95 %", *TESTS]
    body = [
        [
            comparison.name,
            *_means_and_deviations(comparison.first, comparison.second),
            f"{comparison.difference:+.2g}",
            "{:+.2g} to {:+.2g}".format(*comparison.interval),
            *(
                f"{comparison.p[test]:.2g} ({comparison.corrected[test]:.2g})"
                for test in TESTS
            ),
        ]
        for comparison in comparisons
    ]
    return markdown(head, body)


def _means_and_deviations(*samples: paired_tests.Values) -> list[str]:
    """To the second digit of the largest deviation."""
    spread = max(map(stdev, samples))
    digits = 4 if spread == 0 else max(0, 1 - paired_tests.magnitude(spread))
    return [
        f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}" for values in samples
    ]


def table_legend(seeds: int) -> str:
    """Returns what the table's numbers are."""
    return (
        f"Mean ± standard deviation of {seeds} seeds; the mean difference of pairs and"
        f" its 95 % interval;\np, and in brackets with Holm's correction, of"
        f" {len(TESTS)} tests. All of validation images, the losses as weighted in"
        " training."
    )


def verdict(comparisons: Sequence[Comparison], engines: tuple[str, str]) -> str:
    """Returns in words whether any test tells the engines apart, and what the tests
    cannot."""
    first, second = engines
    count = len(comparisons)
    under = f"at {LEVEL * 100:.0f} % after Holm's correction over {count} quantities"
    significant = [
        f"{comparison.name} by {test} (p = {p:.2g})"
        for comparison in comparisons
        for test, p in comparison.significant.items()
    ]
    if significant:
        text = f"{first} and {second} are told apart {under}: {'; '.join(significant)}."
    else:
        text = f"No test tells {first} and {second} apart {under}."
    seeds = len(comparisons[0].first)
    least = min(1.0, count * paired_tests.least_mann_whitney(seeds))
    if least >= LEVEL:
        text += (
            f"\nOf {seeds} seeds Mann-Whitney's p is {least:.2g} at the least, once"
            " corrected: that test can tell nothing apart. Take more --seeds."
        )
    return text


def any_significant(comparisons: Sequence[Comparison]) -> bool:
    """Returns whether any test tells the engines apart in any quantity."""
    return any(comparison.significant for comparison in comparisons)


def as_json(
    plan: EngineComparison,
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    command: str,
) -> dict:
    """Returns all that was found; every number in it is finite."""
    return {
        "command": command,
        "net": plan.name,
        "variant": plan.variant,
        "engines": {name: ENGINES[name] for name in plan.engines},
        "gpus": plan.cards(),
        "seeds": plan.seeds,
        "epochs": {str(stage): epochs for stage, epochs in plan.epochs.items()},
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        "warnings": plan.warnings(),
        "level": LEVEL,
        "runs": list(rows),
        "comparisons": [
            {
                "quantity": comparison.name,
                "means": [mean(comparison.first), mean(comparison.second)],
                "deviations": [stdev(comparison.first), stdev(comparison.second)],
                "difference": comparison.difference,
                "interval": list(comparison.interval),
                "unpaired_interval": list(comparison.unpaired_interval),
                "p": comparison.p,
                "corrected": comparison.corrected,
                "told_apart_by": list(comparison.significant),
            }
            for comparison in comparisons
        ],
        "told_apart": any_significant(comparisons),
    }
