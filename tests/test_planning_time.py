"""Plans for the least time under a budget, against all choices."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_core.errors import InvalidInput
from asi_core.planning import Candidate, LayerProfile, Plan, plan


@st.composite
def timed_profiles(draw: st.DrawFn) -> tuple[list[LayerProfile], int]:
    """Layers whose times are whole percents of those of exact weight gradients."""
    profiles = []
    layers = draw(st.integers(1, 4))
    for number in range(layers):
        compressed = [
            Candidate(
                share,
                (1, rank + 1),
                draw(st.integers(1, 30)),
                draw(st.floats(0.01, 5)),
                seconds=draw(st.integers(1, 300)) / 100,
            )
            for rank, share in enumerate(draw(st.sampled_from([(0.8, 0.9), (0.5, 0.8), (0.9,)])))
        ]
        exact = Candidate(1.0, (10, 10), draw(st.integers(20, 60)), 0.0, seconds=1.0 / layers)
        profiles.append(LayerProfile(str(number), (10, 10), (), (*compressed, exact)))
    sizes = [[c.activation_bytes for c in p.candidates] for p in profiles]
    return profiles, draw(st.integers(sum(map(min, sizes)), sum(map(max, sizes))))


def best_of_all(profiles: list[LayerProfile], budget: int) -> tuple[int, float]:
    """Percents of time, and the error, of the best choice."""

    def all_with(least: float) -> list[tuple[int, float]]:
        usable = [[c for c in p.candidates if c.explained_variance >= least] for p in profiles]
        return [
            (sum(round(100 * (c.seconds or 0)) for c in some), sum(c.gradient_error for c in some))
            for some in itertools.product(*usable)
            if sum(c.activation_bytes for c in some) <= budget
        ]

    return min(all_with(0.8) or all_with(0.0))


@given(timed_profiles())
@settings(max_examples=200)
def test_it_is_the_fastest_and_then_the_most_exact(case: tuple[list[LayerProfile], int]) -> None:
    profiles, budget = case
    made = plan(profiles, budget, objective="time")
    percents, error = best_of_all(profiles, budget)
    assert made.total_bytes <= budget
    assert sum(round(100 * layer.chosen) for layer in made.times) == percents
    assert made.gradient_error == pytest.approx(error, rel=1e-6)


def two_layers() -> list[LayerProfile]:
    """One that is faster exact, and one that is not."""

    def layer(name: str, seconds: float) -> LayerProfile:
        compressed = Candidate(0.8, (1, 2), 10, 0.5, seconds=seconds, macs=round(100 * seconds))
        exact = Candidate(1.0, (10, 10), 100, 0.0, seconds=1.0, macs=100)
        return LayerProfile(name, (10, 10), (), (compressed, exact))

    return [layer("slow", 2.0), layer("quick", 0.5)]


def reasons(made: Plan) -> list[str]:
    return [layer.reason for layer in made.times]


def test_a_layer_is_left_exact_where_compressing_costs_time_and_its_bytes_fit() -> None:
    made = plan(two_layers(), 110, objective="time")
    assert made.ranks == {"slow": (10, 10), "quick": (1, 2)}
    assert made.time_unit == "seconds"
    assert reasons(made) == [
        "exact: compressing it saves no time, and its bytes fit",
        "compressed: faster than exact",
    ]
    assert made.as_dict()["times"][0]["is_exact"]


def test_it_is_compressed_where_its_bytes_are_needed() -> None:
    made = plan(two_layers(), 109, objective="time")
    assert made.ranks["slow"] == (1, 2)
    assert reasons(made)[0] == "compressed: exact would be faster, but its bytes are needed"


def test_without_seconds_time_is_modelled_by_multiplies_and_this_is_said() -> None:
    profiles = []
    for profile in two_layers():
        counted = [Candidate(c.explained_variance, c.ranks, c.activation_bytes, 0.0, macs=c.macs)
                   for c in profile.candidates]  # fmt: skip
        profiles.append(LayerProfile(profile.name, (10, 10), (), tuple(counted)))
    made = plan(profiles, 110, objective="time")
    assert (made.time_unit, made.ranks["slow"]) == ("macs", (10, 10))


def test_profiles_without_either_are_refused() -> None:
    profile = LayerProfile("a", (2, 2), (), (Candidate(1.0, (2, 2), 16, 0.0),))
    with pytest.raises(InvalidInput, match="timing_rounds"):
        plan([profile], 16, objective="time")


def test_a_plan_for_the_least_error_is_as_before() -> None:
    made = plan(two_layers(), 1000)
    assert math.isclose(made.gradient_error, 0)
    assert made.times == ()
    assert "times" not in made.as_dict()
