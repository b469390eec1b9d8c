"""Plans over all budgets, and the baseline without planning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.planning import (
    Candidate,
    LayerProfile,
    budget_curve,
    full_bytes,
    plan,
    profiles_as_dict,
    profiles_from_dict,
    smallest_bytes,
    uniform_plan,
    uniform_plans,
)

SHARES = (0.4, 0.6, 0.8, 1.0)


@st.composite
def profiles(draw: st.DrawFn) -> list[LayerProfile]:
    """Layers whose candidates have increasing bytes and decreasing errors, up to the full input."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        channels = draw(st.integers(10, 50))
        full = 4 * 2 * channels
        sizes = sorted(draw(st.lists(st.integers(1, full - 1), min_size=3, max_size=3)))
        errors = sorted(draw(st.lists(st.floats(0.01, 9), min_size=3, max_size=3)), reverse=True)
        candidates = [
            Candidate(share, (1, rank + 1), size, error)
            for rank, (share, size, error) in enumerate(
                zip(SHARES, [*sizes, full], [*errors, 0.0], strict=True)
            )
        ]
        spectra = ((2.5, 0.123456), tuple(float(c) for c in range(channels, 0, -1)))
        made.append(LayerProfile(f"layer.{number}", (2, channels), spectra, tuple(candidates)))
    return made


@given(profiles())
def test_profiles_survive_json(written: list[LayerProfile]) -> None:
    assert profiles_from_dict(json.loads(json.dumps(profiles_as_dict(written)))) == written


@given(profiles())
def test_the_curve_falls_from_the_smallest_plan_to_zero_error(layers: list[LayerProfile]) -> None:
    curve = budget_curve(layers, 12)
    assert curve[0].total_bytes == smallest_bytes(layers)
    assert curve[-1].total_bytes <= curve[-1].budget_bytes == full_bytes(layers)
    assert curve[-1].gradient_error == 0
    errors = [made.gradient_error for made in curve]
    assert errors == sorted(errors, reverse=True)


@given(profiles(), st.floats(0, 1.2))
def test_planning_is_never_worse_than_one_explained_variance_for_all(
    layers: list[LayerProfile], position: float
) -> None:
    least, most = smallest_bytes(layers), full_bytes(layers)
    budget = int(least + position * (most - least))
    found = uniform_plan(layers, budget)
    if found is None:
        assert uniform_plans(layers)[0][1].total_bytes > budget
        return
    share, uniform = found
    assert uniform.total_bytes <= budget
    assert {c.explained_variance for _, c in uniform.layers} == {share}
    assert all(made.total_bytes > budget for other, made in uniform_plans(layers) if other > share)
    assert plan(layers, budget).gradient_error <= uniform.gradient_error + 1e-12


def test_sizes_are_those_of_the_inputs() -> None:
    candidates = (Candidate(0.5, (1, 1, 1, 1), 100, 2.0), Candidate(1.0, (2, 3, 4, 5), 480, 0.0))
    layer = LayerProfile("layer", (2, 3, 4, 5), ((1.0,),) * 4, candidates)
    assert full_bytes([layer, layer]) == 2 * 4 * 2 * 3 * 4 * 5
    assert smallest_bytes([layer, layer]) == 200
    assert [share for share, _ in uniform_plans([layer])] == [0.5, 1.0]
    assert uniform_plan([layer], 99) is None
    assert plan([layer], 100).gradient_error == pytest.approx(2.0)
