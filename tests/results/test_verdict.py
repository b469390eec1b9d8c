from __future__ import annotations

from pathlib import Path

import pytest

from asi_core.results.outcomes import Outcome, accuracy_difference, outcomes_by_seed
from asi_core.results.statistics import runs_difference, share_interval
from asi_core.results.verdict import judge, most_accurate
from asi_core.runs.store.run_store import RunStore
from dashboard.compare.answer import sentence
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
    # Half a point less than the most accurate is a tie on 1000 images, at fewer bytes.
    assert "80 %" in verdict.chosen.label
    assert ["90 %" in outcome.label for outcome in verdict.tied] == [True]


def test_without_vanilla_or_without_others(outcomes: list[Outcome]) -> None:
    alone = judge(named(outcomes, "ASI", "Head"), 0.01)
    assert (alone.reference, alone.within) == (None, False)
    assert alone.chosen is not None
    assert judge(named(outcomes, "Vanilla", "Head"), 0.01).chosen is None


def test_ties_are_told_and_the_cheapest_of_them_is_chosen(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'ties.sqlite'}")
    seeds = [spec(seed=seed) for seed in range(3)]
    small = [asi(0.4, seed=seed) for seed in range(3)]
    large = [asi(0.8, seed=seed) for seed in range(3)]
    poor = [asi(0.9, seed=seed) for seed in range(3)]
    accuracies = [0.90, 0.91, 0.92, 0.78, 0.80, 0.80, 0.79, 0.80, 0.81, 0.60, 0.61, 0.62]
    nbytes = [1000] * 3 + [10] * 3 + [20] * 3 + [5] * 3
    outcomes = outcomes_by_seed(keep(store, [*seeds, *small, *large, *poor], accuracies, nbytes))
    verdict = judge(outcomes, 0.01)
    assert not verdict.within
    assert verdict.chosen is not None
    # Less accurate by 0.7 points on average, which the seeds do not settle, in half the bytes.
    assert "40 %" in verdict.chosen.label
    assert ["80 %" in outcome.label for outcome in verdict.tied] == [True]
    assert verdict.difference is not None
    assert (verdict.difference.pairs, verdict.difference.is_tie) == (3, False)
    words = sentence(verdict, outcomes, 0.01)
    assert "worse than vanilla (−11.7 points" in words
    assert "(the cheapest of a tie with ASI, 80 % variance)" in words
    best = most_accurate(outcomes)
    assert [outcome.kind for outcome in best] == ["vanilla"]


def test_of_single_runs_the_test_set_settles_what_is_a_tie(outcomes: list[Outcome]) -> None:
    """Half a point is chance among 1000 images, and 7 points are not."""
    (chosen,) = named(outcomes, "90 %")
    (vanilla,) = named(outcomes, "Vanilla, 4")
    assert chosen.test_images == vanilla.test_images == 1000
    assert accuracy_difference(chosen, vanilla) == runs_difference(0.865, 0.87, 1000)
    (other,) = named(outcomes, "Vanilla, 2")
    found = accuracy_difference(other, vanilla)
    assert found is not None
    assert not found.is_tie
    assert chosen.accuracy_interval == share_interval(0.865, 1000)
    assert "a tie with vanilla (−1.0 points, 95" in sentence(judge(outcomes, 0.01), outcomes, 0.01)


def test_a_loss_of_just_the_tolerance_is_within_it(tmp_path: Path) -> None:
    assert 0.5 - 0.086 > 0.414  # in floating point
    store = RunStore(f"sqlite:///{tmp_path / 'other.sqlite'}")
    outcomes = outcomes_by_seed(keep(store, [spec(), asi(0.8)], [0.5, 0.414], [1000, 10]))
    assert judge(outcomes, 0.086).within
