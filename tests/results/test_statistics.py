"""Intervals and differences of accuracies: scipy is the oracle."""

from __future__ import annotations

import random
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asi_core.results.statistics import (
    mean_interval,
    runs_difference,
    seeds_difference,
    share_interval,
    t_quantile,
)

COUNTS = st.integers(1, 20_000)
ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(count=COUNTS, share=st.floats(0, 1))
def test_the_interval_of_a_share_is_wilsons(count: int, share: float) -> None:
    right = round(share * count)
    found = share_interval(right / count, count)
    expected = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= right / count <= found.high <= 1


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 29, 100, 1000])
def test_quantiles_are_students(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@given(values=ACCURACIES)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    found = mean_interval(values)
    assert found is not None
    if stdev(values) > 1e-6:
        scale = stats.sem(values)
        expected = stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), scale)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert mean_interval(values[:1]) is None


@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_differences_are_paired_by_seed(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = ({seed: pair[at] for seed, pair in enumerate(pairs)} for at in (0, 1))
    found = seeds_difference({**ours, 98: 0.5}, {**theirs, 99: 0.1})
    assert found is not None
    assert found.pairs == len(pairs)
    assert found.interval is not None
    if stdev([a - b for a, b in pairs]) > 1e-6:
        test = stats.ttest_rel(list(ours.values()), list(theirs.values()))
        expected = test.confidence_interval(0.95)
        assert (found.interval.low, found.interval.high) == pytest.approx(expected, abs=1e-9)
        if abs(test.pvalue - 0.05) > 1e-6:
            assert found.is_tie == (test.pvalue > 0.05)


def test_fewer_than_two_common_seeds_are_no_pairs() -> None:
    assert seeds_difference({0: 0.9, 1: 0.8}, {1: 0.8, 2: 0.7}) is None
    assert seeds_difference({0: 0.9}, {0: 0.8}) is None


@given(ours=st.floats(0, 1), theirs=st.floats(0, 1), count=COUNTS)
def test_a_difference_of_runs_is_the_same_from_both_sides(
    ours: float, theirs: float, count: int
) -> None:
    found, back = runs_difference(ours, theirs, count), runs_difference(theirs, ours, count)
    assert found.value == -back.value
    assert found.interval is not None
    assert back.interval is not None
    assert found.interval.low == pytest.approx(-back.interval.high, abs=1e-12)
    assert found.value in found.interval
    assert found.is_tie == back.is_tie
    assert runs_difference(ours, ours, count).is_tie
    if ours == theirs:
        assert found.is_tie


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """Squares of the distances to the nearer ends of both Wilson intervals add up."""
    found = runs_difference(0.8, 0.6, 70).interval
    a, b = (stats.binomtest(right, 70).proportion_ci(0.95, "wilson") for right in (56, 42))
    assert found is not None
    assert (0.2 - found.low) ** 2 == pytest.approx((0.8 - a.low) ** 2 + (b.high - 0.6) ** 2)
    assert (found.high - 0.2) ** 2 == pytest.approx((a.high - 0.8) ** 2 + (0.6 - b.low) ** 2)


def test_without_a_test_set_only_equal_accuracies_are_a_tie() -> None:
    assert runs_difference(0.8, 0.8, None).is_tie
    assert not runs_difference(0.8, 0.8001, None).is_tie


def test_19_of_20_intervals_contain_the_truth() -> None:
    draw = random.Random(0)
    for share, count in ((0.85, 500), (0.5, 100)):
        hits = 0
        for _ in range(400):
            right = sum(draw.random() < share for _ in range(count))
            hits += share in share_interval(right / count, count)
        assert 0.93 < hits / 400 < 0.98
