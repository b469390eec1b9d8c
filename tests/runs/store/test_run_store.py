from __future__ import annotations

import threading
import time

import pytest

from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import EvaluationEvent
from asi_core.training.spec import RunSpec

SPEC = RunSpec(method={"kind": "vanilla"})  # type: ignore[arg-type]


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def point(step: int) -> EvaluationEvent:
    return EvaluationEvent(step=step, accuracy=0.5, loss=1.0)


def test_a_run_goes_from_queued_to_completed(store: RunStore) -> None:
    (run,) = store.create([SPEC], "me")
    assert (run.status, run.spec, run.owner) == ("queued", SPEC, "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    store.append(run.id, token, [point(1), point(2)])
    store.finish(run.id, token, "completed", {"test_accuracy": 0.5})
    ended = store.run(run.id)
    assert ended is not None
    assert (ended.status, ended.summary, ended.attempt) == ("completed", {"test_accuracy": 0.5}, 1)
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert store.events(run.id, "evaluation") == [point(1), point(2)]
    assert store.events(run.id, "evaluation", after_step=1) == [point(2)]


def test_only_one_attempt_gets_a_run(store: RunStore) -> None:
    (run,) = store.create([SPEC], "me")
    tokens: list[str | None] = []
    claim = store.attempts.claim
    threads = [threading.Thread(target=lambda: tokens.append(claim(run.id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([token for token in tokens if token]) == 1


def test_a_lost_attempt_writes_nothing(store: RunStore) -> None:
    (run,) = store.create([SPEC], "me")
    store.attempts.claim(run.id)
    with pytest.raises(AttemptLost):
        store.append(run.id, "another token", [point(1)])
    with pytest.raises(AttemptLost):
        store.finish(run.id, "another token", "completed")
    assert store.events(run.id, "evaluation") == []
    assert store.run(run.id).status == "running"  # type: ignore[union-attr]


def test_cancelling_stops_a_queued_run_at_once_and_asks_a_running_one(store: RunStore) -> None:
    queued, running = store.create([SPEC, SPEC], "me")
    store.attempts.claim(running.id)
    for run in (queued, running):
        store.request_cancel(run.id)
    assert store.run(queued.id).status == "cancelled"  # type: ignore[union-attr]
    assert store.attempts.claim(queued.id) is None
    assert store.run(running.id).status == "running"  # type: ignore[union-attr]
    assert store.cancel_requested(running.id)


def test_an_ended_run_cannot_be_cancelled(store: RunStore) -> None:
    (run,) = store.create([SPEC], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    store.finish(run.id, token, "completed")
    store.request_cancel(run.id)
    assert store.run(run.id).status == "completed"  # type: ignore[union-attr]
    assert not store.cancel_requested(run.id)


def test_comparisons_come_newest_first_and_in_their_order(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.create([SPEC, SPEC], "me")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 5)
    second = store.create([SPEC], "me")
    found = store.latest_comparisons(10)
    assert [[run.id for run in runs] for runs in found] == [
        [run.id for run in second],
        [run.id for run in first],
    ]
    assert len(store.latest_comparisons(1)) == 1
    assert [run.id for run in store.active()] == [run.id for run in [*first, *second]]


def test_two_processes_may_share_a_file(store: RunStore) -> None:
    other = RunStore(store.url)
    (run,) = store.create([SPEC], "me")
    token = other.attempts.claim(run.id)
    assert token is not None
    for step in range(50):
        other.append(run.id, token, [point(step)])
        assert store.events(run.id, "evaluation", after_step=step - 1) == [point(step)]


def test_an_unknown_run_is_none(store: RunStore) -> None:
    assert store.run("nothing") is None
    assert store.comparison("nothing") == []
