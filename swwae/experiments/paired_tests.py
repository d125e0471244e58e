"""Whether tests tell two samples apart whose values are pairs, such as what two ways
of training end with from the same seeds.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
from scipy import stats

LEVEL = 0.05
"""A p below it tells samples apart; intervals leave it out."""

FEWEST = 2
"""Pairs, for any test."""

MOST_EXACT = 8
"""Values of a sample, up to which Mann-Whitney's p is counted over all ways to divide
them where some are equal; beyond, it is a normal distribution's."""

Values = Sequence[float]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two samples of a quantity, and what each test says of them.

    interval: 95 % for the mean of the pairs' differences, second less first;
    unpaired_interval: Welch's, which knows of no pairs. p: by test, as in TESTS;
    corrected: with Holm's correction over the quantities that were compared together.
    """

    name: str
    first: Values
    second: Values
    interval: Interval
    unpaired_interval: Interval
    p: dict[str, float]
    corrected: dict[str, float]

    @property
    def difference(self) -> float:
        """Of the means, second less first."""
        return mean(self.second) - mean(self.first)

    @property
    def significant(self) -> dict[str, float]:
        """The tests that tell the samples apart, with their corrected p."""
        return {test: p for test, p in self.corrected.items() if p < LEVEL}


def compare(quantities: dict[str, tuple[Values, Values]]) -> list[Comparison]:
    """Compares each quantity's two samples by all tests, Holm-corrected over the
    quantities.

    quantities: name -> values that are pairs, at least FEWEST.
    """
    p = {
        name: {test: function(*values) for test, function in TESTS.items()}
        for name, values in quantities.items()
    }
    corrected = {test: holm([p[name][test] for name in p]) for test in TESTS}
    return [
        Comparison(
            name,
            *values,
            paired_interval(*values),
            welch_interval(*values),
            p[name],
            {test: corrected[test][index] for test in TESTS},
        )
        for index, (name, values) in enumerate(quantities.items())
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Returns corrected p, in the same order (Holm 1979).

    With them, many tests together err at most as often as one would.
    """
    ascending = sorted(range(len(p)), key=lambda index: p[index])
    corrected = [1.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def welch(first: Values, second: Values) -> float:
    """Returns p of Welch's t test: the means differ, standard deviations may, too."""
    if stdev(first) == stdev(second) == 0:
        return 1.0 if first[0] == second[0] else 0.0
    return _p_value(lambda: stats.ttest_ind(second, first, equal_var=False).pvalue)


def mann_whitney(first: Values, second: Values) -> float:
    """Returns p of Mann and Whitney's U: one sample's values tend to be larger."""
    tied = len({*first, *second}) < len(first) + len(second)
    method = "auto"
    if tied and max(len(first), len(second)) <= MOST_EXACT:
        ways = math.comb(len(first) + len(second), len(first))
        method = stats.PermutationMethod(n_resamples=ways)
    return _p_value(lambda: stats.mannwhitneyu(second, first, method=method).pvalue)


def paired(first: Values, second: Values) -> float:
    """Returns p of the t test of the pairs' differences."""
    differences = _differences(first, second)
    if stdev(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return _p_value(lambda: stats.ttest_1samp(differences, 0).pvalue)


TESTS: dict[str, Callable[[Values, Values], float]] = {
    "Welch's t": welch,
    "Mann-Whitney U": mann_whitney,
    "paired t": paired,
}
"""Two-sided all. Wilcoxon's test of pairs is not among them: of 5 pairs it says 0.0625
at the least."""


def least_mann_whitney(pairs: int) -> float:
    """Returns the smallest p that U can have, where no value of one sample is below any
    of the other's."""
    return 2 / math.comb(2 * pairs, pairs)


def paired_interval(first: Values, second: Values) -> Interval:
    """Returns that of the mean of the differences, second less first."""
    differences = _differences(first, second)
    spread = stdev(differences) / math.sqrt(len(differences))
    return _interval(mean(differences), spread, len(differences) - 1)


def welch_interval(first: Values, second: Values) -> Interval:
    """Returns that of the difference of the means, with Welch's degrees of freedom."""
    parts = [stdev(values) ** 2 / len(values) for values in (first, second)]
    squares = (
        part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True)
    )
    total, freedom = sum(parts), sum(squares)
    freedom = total**2 / freedom if freedom else 1.0
    return _interval(mean(second) - mean(first), math.sqrt(total), freedom)


def magnitude(value: float) -> int:
    """Returns the place of a positive number's first digit: -2 of 0.012."""
    return math.floor(math.log10(value))


def _interval(middle: float, spread: float, freedom: float) -> Interval:
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * spread
    return middle - half, middle + half


def _differences(first: Values, second: Values) -> list[float]:
    return [after - before for before, after in zip(first, second, strict=True)]


def _p_value(test: Callable[[], float]) -> float:
    """p, 1 where there is none, without SciPy's warnings of nearly equal values."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        p = float(test())
    return 1.0 if math.isnan(p) else p
