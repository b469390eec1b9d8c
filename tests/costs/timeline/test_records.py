from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.costs.timeline.records import Category, Lifetime, Moment, Timeline, Use
from asi_core.errors import InvalidInput

COUNT = 6
USES = [Use.BATCH, Use.TRAINED_WEIGHTS, Use.GRADIENTS, Category.TRAINED_INPUTS, Use.TRANSIENT]


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    moments = tuple(
        Moment("forward" if i < 3 else "backward", f"layer{i % 2}", "mm", draw(st.integers(0, 9)))
        for i in range(COUNT)
    )
    lifetimes = []
    for _ in range(draw(st.integers(1, 8))):
        first = draw(st.integers(-1, COUNT - 1))
        end = draw(st.integers(max(first, 0) + 1, COUNT))
        use = draw(st.sampled_from(USES))
        lifetimes.append(Lifetime(draw(st.integers(1, 99)), str(use), "layer0", first, end))
    return Timeline("measured", "cpu", moments, tuple(lifetimes))


@given(timelines())
def test_levels_are_what_is_alive_at_each_operator(timeline: Timeline) -> None:
    expected = [
        sum(life.nbytes for life in timeline.lifetimes if life.is_alive(index)) + m.inside_bytes
        for index, m in enumerate(timeline.moments)
    ]
    assert timeline.levels() == expected
    by_use = [timeline.levels(use) for use in timeline.uses]
    assert [sum(at) for at in zip(*by_use, strict=True)] == expected


@given(timelines())
def test_the_peak_is_what_the_step_adds(timeline: Timeline) -> None:
    peak, before = timeline.peak, sum(timeline.base.values())
    assert peak.nbytes == max(timeline.levels()) - before
    assert sum(peak.by_use.values()) == peak.nbytes
    assert timeline.levels()[peak.index] == max(timeline.levels())


@given(timelines())
def test_a_timeline_goes_through_json(timeline: Timeline) -> None:
    assert Timeline.from_dict(json.loads(json.dumps(timeline.as_dict()))) == timeline


@given(timelines(), st.integers(1, COUNT + 1))
def test_a_thinned_step_says_the_same_with_fewer_moments(timeline: Timeline, most: int) -> None:
    thinned = timeline.thinned(most)
    assert len(thinned.moments) <= max(most, 3)
    assert thinned.base == timeline.base
    assert thinned.kept_bytes == timeline.kept_bytes
    full, thin = timeline.peak, thinned.peak
    assert (thin.nbytes, thin.moment, thin.by_use) == (full.nbytes, full.moment, full.by_use)
    # Every moment that stays has the level that it had, in the same order.
    levels = iter(timeline.levels())
    assert all(level in levels for level in thinned.levels())
    if most >= COUNT:
        assert thinned == timeline


def test_a_step_without_operators_has_no_peak() -> None:
    with pytest.raises(InvalidInput, match="a step must run an operator"):
        _ = Timeline("measured", "cpu", (), ()).peak
