from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as given_by

from asi_core.figures.pareto import ParetoRow
from asi_core.methods import ASI, HOSVD, Vanilla
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard import services
from dashboard.learn import evidence
from dashboard.learn.low_rank import lost_at_most
from dashboard.learn.trade_offs import best_within, points_lost
from dashboard.learn.warm_start import share_of_best
from tests.dashboard.learn_runs import (
    BEST,
    CAPTURED,
    LAYERS,
    add_replay,
    add_run,
    add_sweep,
    probe,
    probes,
)

USUAL = RunSpec(method=ASI(explained_variance=0.8))


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
    assert evidence.sweep() is None


def test_what_comes_with_the_app_is_enough() -> None:
    st.cache_resource.clear()
    run, sweep = evidence.probed_run(), evidence.sweep()
    assert run is not None
    assert sweep is not None
    assert run.origin == sweep.origin == "precomputed, shipped with the app"
    assert len(run.steps) >= 6
    assert set(sweep.asi) == {0.4, 0.6, 0.8, 0.9, 0.95}
    assert all(len(point.accuracy) >= 2 for point in sweep.points)
    for method in (Vanilla(), USUAL.method):
        kinds = evidence.saved_by_category(method)
        assert kinds is not None
        assert kinds["trained layer inputs"] > 0
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


def test_a_sweep_has_every_explained_variance_and_seed_once(store: RunStore) -> None:
    add_sweep(store)
    for method in (
        ASI(ranks=4),
        ASI(explained_variance=0.6, sequential=False),
        HOSVD(explained_variance=0.6),
    ):
        add_run(store, RunSpec(method=method))
    add_run(store, RunSpec(method=Vanilla(), steps=20))
    add_run(store, RunSpec(method=Vanilla(), layers=0))
    found = evidence.sweep()
    assert found is not None
    assert set(found.asi) == {0.4, 0.8}
    assert found.vanilla.accuracy == {0: 0.90, 1: 0.92}
    assert [point.method.kind for point in found.points] == ["asi", "asi", "vanilla"]
    assert found.asi[0.4].deviation is None
    assert found.asi[0.8].mean_accuracy == pytest.approx(0.875)
    assert found.asi[0.8].deviation == pytest.approx(0.01 / 2**0.5)


@pytest.mark.parametrize("method", [Vanilla(), USUAL.method])
def test_a_sweep_needs_vanilla_and_the_usual_run(store: RunStore, method: object) -> None:
    add_run(store, RunSpec.model_validate({"method": method}))
    assert evidence.sweep() is None


def test_points_are_lost_on_common_seeds(store: RunStore) -> None:
    add_sweep(store)
    add_run(store, RunSpec(method=Vanilla(), seed=7), accuracy=0.1)
    found = evidence.sweep()
    assert found is not None
    assert points_lost(found) == pytest.approx((3 + 4) / 2)


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
    rows = [
        ParetoRow(key="", label="", mark="", style="asi", accuracy=accuracy / 5, cost=cost)
        for cost, accuracy in points
    ]
    fitting = [(-accuracy, cost) for cost, accuracy in points if cost <= budget]
    chosen = best_within(rows, budget)
    if not fitting:
        assert chosen is None
    else:
        assert chosen is not None
        assert (round(-5 * chosen.accuracy), chosen.cost) == min(fitting)
