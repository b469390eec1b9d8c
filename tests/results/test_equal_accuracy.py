"""Prices at equal accuracy: against brute force over a fine grid, and by properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.results.equal_accuracy import Reached, frontier, price_of

POINTS = st.lists(
    st.builds(
        Reached,
        accuracy=st.integers(0, 50).map(lambda n: n / 50),
        price=st.integers(1, 40).map(float),
    ),
    min_size=1,
    max_size=8,
)
VANILLA = [Reached(0.60, 1000.0), Reached(0.70, 4000.0), Reached(0.72, 9000.0)]


@given(POINTS)
def test_the_frontier_is_the_pareto_front(points: list[Reached]) -> None:
    unbeaten = {
        p
        for p in points
        if not any(
            (q.price <= p.price and q.accuracy > p.accuracy)
            or (q.price < p.price and q.accuracy >= p.accuracy)
            for q in points
        )
    }
    assert set(frontier(points)) == unbeaten
    assert all(a.price < b.price and a.accuracy < b.accuracy for a, b in pairwise(frontier(points)))


@given(POINTS, st.integers(0, 100).map(lambda n: n / 100))
def test_prices_are_numpy_s_interpolation_of_logarithms(
    points: list[Reached], accuracy: float
) -> None:
    best = frontier(points)
    found = price_of(accuracy, points)
    if accuracy > best[-1].accuracy:
        assert found is None
    else:
        expected = np.interp(accuracy, [p.accuracy for p in best], np.log([p.price for p in best]))
        assert found == pytest.approx(np.exp(expected))


@given(POINTS)
def test_an_accuracy_costs_no_more_than_any_setting_that_reaches_it(points: list[Reached]) -> None:
    for point in points:
        price = price_of(point.accuracy, points)
        assert price is not None
        assert price <= point.price * (1 + 1e-12)


def test_between_two_settings_the_price_is_interpolated() -> None:
    asi = [Reached(0.65, 10.0), Reached(0.71, 40.0)]
    assert price_of(0.60, asi) == 10.0
    # Five sixths of the way from 10 to 40 on a log scale.
    assert price_of(0.70, asi) == pytest.approx(10 * 4 ** (5 / 6))


def test_an_accuracy_that_is_not_reached_has_no_price() -> None:
    assert price_of(0.73, VANILLA) is None
    assert price_of(0.5, []) is None
