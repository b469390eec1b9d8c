from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as given_by

from asi_core.figures.equal_memory import PricedPoint
from asi_core.methods import ASI, HOSVD, LoRA, Vanilla
from asi_core.results.outcomes import outcomes_by_seed
from asi_core.results.poster_study import CURVES
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard import services
from dashboard.learn import evidence
from dashboard.learn.alternatives import needed
from dashboard.learn.evidence import STUDY
from dashboard.learn.low_rank import lost_at_most
from dashboard.learn.memory import without_uses
from dashboard.learn.shipped import (
    ALTERNATIVES,
    DEPTHS,
    NEEDS,
    PLAIN,
    TIMELINES,
    lesson_method,
)
from dashboard.learn.trade_offs import best_within, points_lost
from dashboard.learn.warm_start import share_of_best
from tests.dashboard import learn_runs
from tests.dashboard.learn_runs import (
    BEST,
    CAPTURED,
    LAYERS,
    STUDY_RUNS,
    add_replay,
    add_run,
    add_study,
    probe,
    probes,
)

USUAL = RunSpec(method=ASI(explained_variance=0.8, update="every_step"))
COMPARED = ASI(ranks=8), Vanilla(), LoRA()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """An empty store, without the shipped runs."""
    st.cache_resource.clear()
    empty = RunStore(read_settings().database_url)
    monkeypatch.setattr(services, "store", lambda: empty)
    yield empty
    empty.close()
    st.cache_resource.clear()


def test_an_empty_store_has_no_evidence(store: RunStore) -> None:
    assert evidence.probed_run() is None
    assert evidence.study() is None


def test_what_comes_with_the_app_is_enough() -> None:
    st.cache_resource.clear()
    run, study = evidence.probed_run(), evidence.study()
    assert run is not None
    assert study is not None
    assert run.origin == study.origin == "precomputed, shipped with the app"
    assert len(run.steps) >= 6
    assert list(study.vanilla) == list(study.asi) == [1, 2, 4, 6, 8, 12]
    assert all(len(point.accuracy) == 3 for point in study.points)
    assert set(evidence.whole_steps()) == set(TIMELINES)
    assert set(evidence.needs()) == set(NEEDS)
    st.cache_resource.clear()


def test_the_usual_run_is_found_by_what_it_is(store: RunStore) -> None:
    other = {"steps": 30, "seed": 1, "layers": 2, "lean": False, "batch_size": 32}
    for key, value in other.items():
        add_run(store, USUAL.model_copy(update={key: value}), events=probes((1, 2, 3)))
    add_run(store, RunSpec(method=HOSVD(explained_variance=0.8)), events=probes((1, 2, 3)))
    add_run(store, USUAL, events=probes((1, 2, 3)), status="failed")
    # Not enough for a replay.
    add_run(store, USUAL, events=probes((1,)))
    assert evidence.probed_run() is None
    st.cache_resource.clear()
    add_replay(store)
    found = evidence.probed_run()
    assert found is not None
    assert found.steps == [1, 30, 60]
    assert found.layers == list(LAYERS)
    assert found.origin == "runs of this installation"


def test_a_shipped_run_comes_first_and_of_those_the_one_that_looked_most(store: RunStore) -> None:
    seldom, often = (USUAL.model_copy(update={"probe_every": every}) for every in (150, 50))
    add_run(store, seldom, events=probes((1, 150)), owner=EXAMPLE_OWNER)
    add_run(store, often, events=probes((1, 50, 100)), owner=EXAMPLE_OWNER)
    add_run(store, USUAL, events=probes((1, 2, 3, 4)))
    found = evidence.probed_run()
    assert found is not None
    assert found.steps == [1, 50, 100]
    assert found.origin == "precomputed, shipped with the app"


def test_a_study_has_every_depth_and_seed_once(store: RunStore) -> None:
    add_study(store)
    for change in ({"steps": 20}, {"method": ASI(ranks=4)}, {"momentum": 0.9}, {"layers": "all"}):
        add_run(store, STUDY.model_copy(update=change))
    # Of equal runs the newest counts.
    add_run(store, STUDY.model_copy(update={"layers": 1}), accuracy=0.7)
    found = evidence.study()
    assert found is not None
    assert found.head.accuracy == {0: 0.67}
    assert list(found.vanilla) == list(found.asi) == [1, 12]
    assert found.vanilla[1].accuracy == {0: 0.7}
    assert found.vanilla[12].accuracy == {0: 0.76, 1: 0.78}
    assert found.asi[12].mean_accuracy == pytest.approx(0.735)
    assert [(point.layers, point.method.kind) for point in found.points] == [
        *((0, "vanilla"), (1, "vanilla"), (12, "vanilla"), (1, "asi"), (12, "asi"))
    ]


@pytest.mark.parametrize("missing", [(0, "vanilla"), (12, "vanilla"), (12, "asi")])
def test_a_study_needs_the_probe_vanilla_and_asi(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, missing: tuple[int, str]
) -> None:
    left = [run for run in STUDY_RUNS if (run[0], run[1].kind) != missing]
    monkeypatch.setattr(learn_runs, "STUDY_RUNS", left)
    add_study(store)
    assert evidence.study() is None


def test_points_are_lost_on_common_seeds(store: RunStore) -> None:
    add_study(store)
    add_run(store, STUDY.model_copy(update={"seed": 7}), accuracy=0.1)
    found = evidence.study()
    assert found is not None
    assert points_lost(found) == pytest.approx((3 + 4) / 2)


def test_a_ratio_of_the_lessons_is_that_of_the_outcomes() -> None:
    """As Compare computes it, of the shipped runs."""
    st.cache_resource.clear()
    found = evidence.study()
    assert found is not None
    runs = [run for name in CURVES for run in services.store().comparison(name)]
    deepest = [o for o in outcomes_by_seed(runs) if o.spec.layers == STUDY.layers]
    kept = {o.spec.method: o.mean("activation_bytes") for o in deepest}
    for point in found.deepest:
        assert point.activation_bytes == kept[point.method]
    st.cache_resource.clear()


def test_the_first_look_counts_for_nothing(store: RunStore) -> None:
    add_replay(store)
    found = evidence.probed_run()
    assert found is not None
    assert share_of_best(found) == pytest.approx(CAPTURED / BEST)


def test_energy_lost_is_what_all_modes_cut_off() -> None:
    assert lost_at_most(probe("layer", 30, 4), (1, 2, 3, 4)) == pytest.approx(0.19 + 0.10 + 0.01)


@given(
    given_by.lists(
        given_by.tuples(given_by.integers(1, 9), given_by.integers(0, 5)), min_size=1, max_size=8
    ),
    given_by.integers(0, 10),
)
def test_the_best_within_a_budget_is_beaten_by_none(
    points: list[tuple[int, int]], budget: int
) -> None:
    priced = [PricedPoint("", accuracy / 5, cost) for cost, accuracy in points]
    fitting = [(-accuracy, cost) for cost, accuracy in points if cost <= budget]
    chosen = best_within(priced, budget)
    if not fitting:
        assert chosen is None
    else:
        assert chosen is not None
        assert (round(-5 * chosen.accuracy), chosen.price) == min(fitting)


def test_all_memory_has_one_use_at_the_same_levels() -> None:
    st.cache_resource.clear()
    plain = evidence.whole_steps()[PLAIN]
    hidden = without_uses(plain)
    assert hidden.levels() == plain.levels()
    assert hidden.peak.nbytes == plain.peak.nbytes
    assert len(hidden.uses) == 1
    st.cache_resource.clear()


def test_what_is_needed_falls_with_the_micro_batch() -> None:
    """What the lesson says of the shipped steps, also what does not favour ASI."""
    st.cache_resource.clear()
    found = evidence.needs()
    for layers in DEPTHS:
        for method in map(lesson_method, ALTERNATIVES):
            sizes = [needed(found, method, layers, size) for size in (64, 32, 16, 8)]
            assert sizes == sorted(sizes, reverse=True)
        kept = {m: evidence.usual_cost(m, layers=layers).activation_bytes for m in COMPARED}
        assert kept[LoRA()] > kept[Vanilla()]
    few, (asi, vanilla, lora) = DEPTHS[0], COMPARED
    whole = needed(found, asi, few, 64)
    assert needed(found, lora, few, 8) < needed(found, vanilla, few, 8) < whole
    assert needed(found, asi, DEPTHS[-1], 8) < needed(found, vanilla, DEPTHS[-1], 8)
    st.cache_resource.clear()
