from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asi_core.errors import InvalidInput, Unavailable
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit import service
from asi_core.runs.submit.service import MOST_RUNS_AT_ONCE, request_runs
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS

SPEC = RunSpec(method={"kind": "vanilla"})  # type: ignore[arg-type]


def test_valid_runs_are_queued_in_order(database_url: str) -> None:
    store = RunStore(database_url)
    runs = request_runs(store, [SPEC, SPEC.model_copy(update={"seed": 1})], "me")
    assert [run.spec.seed for run in runs] == [0, 1]
    assert {run.status for run in runs} == {"queued"}


def test_a_second_click_shows_the_active_runs_and_a_later_launch_starts_new_ones(
    database_url: str,
) -> None:
    store = RunStore(database_url)
    first = request_runs(store, [SPEC, SPEC], "me")
    assert request_runs(store, [SPEC, SPEC], "me") == first
    assert request_runs(store, [SPEC, SPEC], "another user") != first
    assert request_runs(store, [SPEC], "me") != first
    store.request_cancel(first[0].id)
    assert request_runs(store, [SPEC, SPEC], "me") != first


@pytest.mark.parametrize("again", [False, True])
def test_simultaneous_equal_requests_make_one_comparison(again: bool, database_url: str) -> None:
    """Double clicks, several tabs, a proxy that repeats: each has a separate connection."""
    stores = [RunStore(database_url) for _ in range(20)]
    begin = threading.Barrier(len(stores))

    def ask(store: RunStore) -> str:
        begin.wait()
        return request_runs(store, [SPEC, SPEC], "me", again=again)[0].comparison

    with ThreadPoolExecutor(len(stores)) as pool:
        found = set(pool.map(ask, stores))
    assert len(found) == 1
    assert len(stores[0].active()) == 2


def test_completed_runs_requested_simultaneously_are_copied_once(database_url: str) -> None:
    store = RunStore(database_url)
    (run,) = request_runs(store, [SPEC], "another user")
    token = store.attempts.claim(run.id)
    assert token is not None
    store.finish(run.id, token, "completed", {})
    stores = [RunStore(database_url) for _ in range(8)]
    begin = threading.Barrier(len(stores))

    def ask(store: RunStore) -> str:
        begin.wait()
        return request_runs(store, [SPEC], "me")[0].comparison

    with ThreadPoolExecutor(len(stores)) as pool:
        assert len(set(pool.map(ask, stores))) == 1
    assert len(store.latest_comparisons(10)) == 2


def test_the_same_may_be_launched_again_later(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(database_url)
    first = request_runs(store, [SPEC], "me")
    assert request_runs(store, [SPEC], "me", again=True) == first
    monkeypatch.setattr(service, "AT_ONCE_SECONDS", -1.0)
    assert request_runs(store, [SPEC], "me", again=True) != first


@pytest.mark.parametrize("count", [0, MOST_RUNS_AT_ONCE + 1])
def test_too_few_or_too_many_are_refused(count: int, database_url: str) -> None:
    store = RunStore(database_url)
    with pytest.raises(InvalidInput, match=f"1 to {MOST_RUNS_AT_ONCE} runs, got {count}"):
        request_runs(store, [SPEC] * count, "me")


def test_unreadable_weights_leave_no_partial_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    (tmp_path / MODELS[SPEC.model].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    store = RunStore(database_url)
    with pytest.raises(Unavailable, match="does not hold the weights"):
        request_runs(store, [SPEC], "me")
    assert store.latest_comparisons(10) == []
