from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asi_core.errors import AsiError
from asi_core.runs.engine import reporter, worker
from asi_core.runs.engine.serial_executor import SerialExecutor
from asi_core.runs.store.retry import StoreTimeout
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.training.events import Event, StepEvent
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images
from tests.runs.losing import lose_all
from tests.runs.turns import held
from tests.waiting import wait_for


@pytest.fixture
def store(database_url: str) -> RunStore:
    return worker.open_store(database_url)


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 3, "batch_size": 16, "image_size": 32, "layers": 1, "evaluate_every": 3}
    usual = {"method": {"kind": "vanilla"}, "dataset": few_images()}
    return RunSpec.model_validate({**usual, **small, **changes})


def step_event(step: int) -> StepEvent:
    numbers = dict.fromkeys(StepEvent.model_fields, 1)
    return StepEvent.model_validate({**numbers, "step": step, "kind": "step"})


def test_everything_is_stored(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert ended.status == "completed"
    assert [event.step for event in store.events(run.id, "step")] == [1, 2, 3]
    assert len(store.events(run.id, "prepared")) == 1
    assert ended.summary is not None
    (evaluation,) = store.events(run.id, "evaluation")
    assert ended.summary["test_accuracy"] == evaluation.accuracy  # type: ignore[union-attr]
    assert ended.summary["seconds"]["total"] > 0


def test_warming_up_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing a model replaces `Module.__call__` for all threads, so no other may compute."""
    begun = threading.Event()

    def stream(*arguments: Any, **keywords: Any) -> Iterator[Event]:
        begun.set()
        yield step_event(1)

    monkeypatch.setattr(worker, "fine_tune", stream)
    executor = worker.worker_context().executor
    warming = threading.Thread(target=worker.warm_up)
    with held(executor):
        warming.start()
        wait_for(lambda: executor.waiting, 10, "the warm-up's place in the queue")
        assert not begun.is_set()
    warming.join(timeout=10)
    assert begun.is_set()


def test_a_run_that_another_attempt_has_is_left_alone(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    store.attempts.claim(run.id)
    worker.execute(run.id, store.url)
    assert store.events(run.id, "step") == []


def test_a_process_that_cannot_compute_leaves_no_running_run(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OverflowError("no such number of threads")

    monkeypatch.setattr(
        worker, "worker_context", lambda: worker.WorkerContext(SerialExecutor(broken))
    )
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert ended.status == "failed"
    assert "not usable anymore" in str(ended.error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AsiError("the reason in one sentence."), "the reason in one sentence."),
        (ZeroDivisionError("division by\nzero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_run_keeps_what_was_measured_and_says_why(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def failing(*arguments: Any, **keywords: Any) -> Iterator[Event]:
        yield step_event(1)
        raise error

    monkeypatch.setattr(worker, "fine_tune", failing)
    (run,) = store.create([spec()], "me")
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert (ended.status, ended.error) == ("failed", expected)
    assert len(store.events(run.id, "step")) == 1
    assert ended.summary is not None
    assert ended.summary["steps_done"] == 1


def test_a_cancelled_run_stops_within_a_step(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = store.create([spec(steps=100)], "me")

    def stepping(*arguments: Any, should_stop: Any, **keywords: Any) -> Iterator[Event]:
        for step in range(1, 101):
            if should_stop():
                return
            yield step_event(step)
            if step == 5:
                store.request_cancel(run.id)

    monkeypatch.setattr(worker, "fine_tune", stepping)
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert ended.status == "cancelled"
    assert len(store.events(run.id, "step")) == 5


def test_a_run_that_cannot_be_written_for_long_is_queued_again(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not failed, even if the store is back just then."""
    monkeypatch.setattr(worker, "fine_tune", lambda *a, **k: map(step_event, range(1, 101)))
    given_up: list[object] = []

    def retry(what: Callable[[], object]) -> object:
        if not given_up:
            given_up.append(what)
            raise StoreTimeout("the store has not answered for 900 s (disk is full)")
        return what()

    monkeypatch.setattr(reporter, "retry", retry)
    (run,) = store.create([spec(steps=100)], "me")
    worker.execute(run.id, store.url)
    left = store.run(run.id)
    assert left is not None
    assert (left.status, left.error) == ("queued", None)
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert (ended.status, ended.attempt) == ("completed", 2)
    assert [event.step for event in store.events(run.id, "step")] == list(range(1, 101))


def test_a_task_that_must_wait_pauses(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    suspect, beside = store.create([spec(), spec()], "me")
    here = str(WorkerId.here("tcp://here"))
    assert store.attempts.claim(suspect.id, here) is not None
    assert lose_all(store) == 1
    assert store.attempts.claim(beside.id, here) is not None
    waited: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", waited.append)
    worker.execute_next(store.url, address="tcp://here")
    assert waited == [worker.LATER_SECONDS]
    assert store.attempts.running()[0].id == beside.id


def test_an_attempt_that_lost_its_run_writes_nothing_more(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = store.create([spec(steps=1000)], "me")

    def stepping(*arguments: Any, **keywords: Any) -> Iterator[Event]:
        for step in range(1, 1001):
            if step == 60:
                assert lose_all(store) == 1
            yield step_event(step)

    monkeypatch.setattr(worker, "fine_tune", stepping)
    worker.execute(run.id, store.url)
    ended = store.run(run.id)
    assert ended is not None
    assert ended.status == "queued"
    assert len(store.events(run.id, "step")) < 100


def test_threads_that_come_first_together_share_one_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two would compute at the same time, and one would trace while the other calls modules."""
    both, made = threading.Barrier(2), list[worker.WorkerContext]()
    create = worker.WorkerContext

    def slow() -> worker.WorkerContext:
        # Whoever else is let in meanwhile makes another one.
        second.wait(0.2)
        return create()

    second = threading.Event()
    worker._only_context.cache_clear()
    monkeypatch.setattr(worker, "WorkerContext", slow)

    def ask() -> None:
        both.wait()
        made.append(worker.worker_context())

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] is made[1]
    worker._only_context.cache_clear()
