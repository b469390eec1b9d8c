"""What training needs at once, from timelines of its two parts."""

from __future__ import annotations

import json

import pytest

from asi_core.costs.needs import FROZEN_FORWARD, Need
from asi_core.costs.timeline.records import Lifetime, Moment, Timeline, Use


def timeline(*lifetimes: tuple[int, str, int, int], moments: int = 2) -> Timeline:
    """Of (bytes, use, first, end)."""
    return Timeline(
        "formula",
        "cpu",
        tuple(Moment("forward", "a", "op", 0) for _ in range(moments)),
        tuple(Lifetime(n, use, "a", first, end) for n, use, first, end in lifetimes),
    )


STEP = timeline(
    (100, Use.TRAINED_WEIGHTS, -1, 2),
    (1000, Use.FROZEN_WEIGHTS, -1, 2),
    (7, Use.WARM_STARTS, -1, 2),
    (40, Use.BATCH, -1, 2),
    (100, Use.GRADIENTS, 1, 2),
    (30, Use.TRANSIENT, 0, 1),
)
FROZEN = timeline(
    (12, Use.BATCH, -1, 2), (500, Use.FROZEN_WEIGHTS, -1, 2), (60, Use.TRANSIENT, 0, 2)
)


def test_the_larger_of_both_parts_is_needed_above_what_lies_there() -> None:
    need = Need.of(STEP, FROZEN, accumulates=False)
    assert not need.frozen_is_larger
    assert need.total(frozen_in_flash=True) == 100 + 7 + 40 + 100
    assert need.total(frozen_in_flash=False) == need.total(frozen_in_flash=True) + 1500
    assert need.breakdown == {
        Use.TRAINED_WEIGHTS: 100,
        Use.GRADIENTS: 100,
        Use.BATCH: 40,
        Use.WARM_STARTS: 7,
    }


def test_the_frozen_pass_finds_gradients_of_earlier_micro_batches() -> None:
    need = Need.of(STEP, FROZEN, accumulates=True)
    assert need.frozen_is_larger
    assert need.breakdown[FROZEN_FORWARD] == 72
    assert need.total(frozen_in_flash=True) == 100 + 7 + 40 + 100 + 72


def test_a_budget_of_exactly_the_need_fits() -> None:
    need = Need.of(STEP, FROZEN, accumulates=False)
    assert need.fits(247, frozen_in_flash=True)
    assert not need.fits(246, frozen_in_flash=True)
    assert not need.fits(247, frozen_in_flash=False)


def test_without_a_frozen_part_the_step_alone_counts() -> None:
    need = Need.of(STEP, None, accumulates=True)
    assert (need.frozen_pass, need.gradients, need.frozen_weights) == (0, 0, 1000)


@pytest.mark.parametrize("accumulates", [False, True])
def test_it_survives_json(accumulates: bool) -> None:
    need = Need.of(STEP, FROZEN, accumulates=accumulates)
    written = json.loads(json.dumps(need.as_dict()))
    found = Need.from_dict(written)
    assert found.breakdown == need.breakdown
    assert written["total_bytes"] == found.total(frozen_in_flash=True)
