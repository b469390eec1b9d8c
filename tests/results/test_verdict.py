from __future__ import annotations

from pathlib import Path

import pytest

from asi_core.results.outcomes import Outcome, outcomes_by_seed
from asi_core.results.verdict import judge
from asi_core.runs.store.run_store import RunStore
from tests.runs.kept import asi, keep, spec


@pytest.fixture
def outcomes(tmp_path: Path) -> list[Outcome]:
    store = RunStore(f"sqlite:///{tmp_path / 'asi.sqlite'}")
    specs = [spec(layers=0), spec(), spec(layers=2), asi(0.4), asi(0.8), asi(0.9)]
    accuracies = [0.99, 0.87, 0.80, 0.82, 0.86, 0.865]
    return outcomes_by_seed(
        keep(store, specs, accuracies, [0, 1000_000, 500_000, 4_000, 20_000, 100_000])
    )


def named(outcomes: list[Outcome], *words: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if any(word in outcome.label for word in words)]


@pytest.mark.parametrize(
    ("points", "expected"), [(0.5, "90 %"), (1.0, "80 %"), (4.9, "80 %"), (5.0, "40 %")]
)
def test_the_cheapest_within_the_tolerance_is_chosen(
    outcomes: list[Outcome], points: float, expected: str
) -> None:
    verdict = judge(outcomes, points / 100)
    assert verdict.within
    assert verdict.chosen is not None
    assert verdict.chosen.label == f"ASI, {expected} variance, 4 layers"
    assert verdict.reference is not None
    assert verdict.reference.label == "Vanilla, 4 layers"


def test_ratios_are_to_the_reference(outcomes: list[Outcome]) -> None:
    verdict = judge(outcomes, 0.01)
    assert verdict.ratio("activation_bytes") == pytest.approx(20_000 / 1_000_000)
    assert judge([], 0.01).ratio("activation_bytes") is None


def test_where_none_is_near_the_most_accurate_is_reported(outcomes: list[Outcome]) -> None:
    verdict = judge(outcomes, 0.001)
    assert not verdict.within
    assert verdict.chosen is not None
    assert "90 %" in verdict.chosen.label


def test_without_vanilla_or_without_others(outcomes: list[Outcome]) -> None:
    alone = judge(named(outcomes, "ASI", "Head"), 0.01)
    assert (alone.reference, alone.within) == (None, False)
    assert alone.chosen is not None
    assert judge(named(outcomes, "Vanilla", "Head"), 0.01).chosen is None


def test_a_loss_of_just_the_tolerance_is_within_it(tmp_path: Path) -> None:
    assert 0.5 - 0.086 > 0.414  # in floating point
    store = RunStore(f"sqlite:///{tmp_path / 'other.sqlite'}")
    outcomes = outcomes_by_seed(keep(store, [spec(), asi(0.8)], [0.5, 0.414], [1000, 10]))
    assert judge(outcomes, 0.086).within
