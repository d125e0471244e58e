"""Tests that tell samples apart, on made-up numbers."""

import math
from itertools import combinations
from statistics import mean

import numpy as np
import pytest

from swwae.experiments import paired_tests
from swwae.experiments.paired_tests import TESTS, compare, holm

FAR = ([1.0, 1.1, 0.9, 1.05, 0.95], [2.0, 2.1, 1.9, 2.05, 1.96])
NEAR = ([1.0, 1.1, 0.9, 1.05, 0.95], [1.02, 1.05, 0.94, 1.0, 1.01])


def test_a_difference_is_told_by_every_test():
    (found,) = compare({"error": FAR})
    assert set(found.significant) == set(TESTS)
    assert found.difference == pytest.approx(1.002)
    for low, high in (found.interval, found.unpaired_interval):
        assert 0 < low < found.difference < high


def test_no_difference_is_told_by_none():
    (found,) = compare({"error": NEAR})
    assert found.significant == {}
    for low, high in (found.interval, found.unpaired_interval):
        assert low < 0 < high


def test_pairs_show_a_difference_that_is_small_against_the_seeds():
    first = [1.0, 2.0, 3.0, 4.0, 5.0]
    (found,) = compare({"loss": (first, [each + 0.01 for each in first[:-1]] + [5.02])})
    assert list(found.significant) == ["paired t"]
    assert found.p["Welch's t"] > 0.9


def test_more_quantities_ask_for_more():
    alone = compare({"error": FAR})[0]
    among = compare({"error": FAR, "loss": NEAR, "other": NEAR})[0]
    for test in TESTS:
        assert among.p[test] == alone.p[test] == alone.corrected[test]
        assert among.corrected[test] == pytest.approx(3 * alone.p[test])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.001]) == pytest.approx([0.5, 0.002])
    assert holm([0.9, 0.8]) == [1, 1]


def u(first, second):
    """How many pairs of values the second is larger in; a tie is a half."""
    return sum((b > a) + (a == b) / 2 for a in first for b in second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 3.0, 5.0, 7.0, 9.0], [2.0, 6.0, 8.0, 10.0, 11.0]),
        ([9.5, 9.4, 9.4, 9.7, 9.1], [9.4, 9.2, 9.7, 9.8, 9.9]),  # ties
    ],
)
def test_mann_whitney_counts_all_ways(first, second):
    every = [*first, *second]
    middle = len(first) * len(second) / 2
    found = abs(u(first, second) - middle)
    ways = as_far = 0
    for chosen in combinations(range(10), 5):
        one = [every[index] for index in chosen]
        other = [every[index] for index in range(10) if index not in chosen]
        ways += 1
        as_far += abs(u(one, other) - middle) >= found - 1e-9
    assert paired_tests.mann_whitney(first, second) == pytest.approx(as_far / ways)


def test_the_least_p_of_mann_whitney():
    assert paired_tests.least_mann_whitney(5) == pytest.approx(
        paired_tests.mann_whitney(*FAR)
    )


@pytest.mark.parametrize(("second", "p"), [(3.0, 1.0), (4.0, 0.0)])
def test_values_that_do_not_vary(second, p, recwarn):
    (found,) = compare({"error": ([3.0] * 5, [second] * 5)})
    assert found.p["Welch's t"] == found.p["paired t"] == p
    assert found.interval == found.unpaired_interval == (second - 3, second - 3)
    assert not recwarn.list


def test_nearly_equal_values_make_no_noise(recwarn):
    first = [9.1, 8.1, 7.3, 6.7, 5.9]
    (found,) = compare({"error": (first, [each + 0.1 for each in first])})
    assert all(math.isfinite(p) for p in found.p.values())
    assert not recwarn.list


def test_chance_is_found_as_often_as_the_level_says():
    """Of 400 quantities without a difference, each test tells about 5 % apart, and
    intervals leave out the truth as often; corrected, hardly one is left."""
    random = np.random.default_rng(1)
    draws = random.normal(size=(400, 2, 5))
    found = compare({str(i): tuple(map(list, pair)) for i, pair in enumerate(draws)})
    for test in TESTS:
        share = mean(each.p[test] < paired_tests.LEVEL for each in found)
        assert 0.02 < share < 0.08, test
    for kind in ("interval", "unpaired_interval"):
        outside = mean(
            not low < 0 < high for low, high in (getattr(e, kind) for e in found)
        )
        assert 0.02 < outside < 0.08, kind
    assert sum(bool(each.significant) for each in found) <= 2
