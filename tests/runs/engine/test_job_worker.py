from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from asi_core.errors import AsiError
from asi_core.planning import plan, profiles_from_dict
from asi_core.runs import job_kinds
from asi_core.runs.engine import job_worker
from asi_core.runs.engine.worker import worker_context
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.store.tables import jobs as jobs_table
from asi_core.runs.submit.jobs import request_job
from asi_core.training.calibration import calibrate
from asi_core.training.spec import RunSpec
from tests.runs.losing import lose_all
from tests.runs.turns import held
from tests.waiting import wait_for


@pytest.fixture
def store(database_url: str) -> JobStore:
    return job_worker.open_jobs(database_url)


def spec(**changes: Any) -> RunSpec:
    small = {"batch_size": 8, "image_size": 32, "layers": 2}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **small, **changes})


def executed(store: JobStore, kind: str, about: RunSpec) -> JobRecord:
    job = request_job(store, kind, about, "me")
    job_worker.execute_job(job.id, store.url)
    return ended(store, job)


def ended(store: JobStore, job: JobRecord) -> JobRecord:
    found = store.job(job.id)
    assert found is not None
    assert not found.is_active
    return found


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., dict[str, Any]]) -> None:
    kind = replace(job_kinds.JOB_KINDS["measure"], answer=answer)
    monkeypatch.setitem(job_kinds.JOB_KINDS, "measure", kind)


def test_a_calibration_comes_back_as_it_was_computed(store: JobStore) -> None:
    job = executed(store, "calibrate", spec())
    assert (job.status, job.error) == ("completed", None)
    assert job.result is not None
    profiles = profiles_from_dict(job.result)
    expected = calibrate(spec(), worker_context().features)
    assert [p.candidates for p in profiles] == [p.candidates for p in expected]
    assert profiles == expected
    assert plan(profiles, 10**9).gradient_error == 0


def test_a_measurement_equals_the_formulas(store: JobStore) -> None:
    job = executed(store, "measure", spec(method={"kind": "asi", "ranks": 2}))
    assert job.status == "completed"
    assert job.result is not None
    assert job.result["meters_agree"] is True
    layers = job.result["layers"]
    assert [layer["measured_bytes"] for layer in layers] == [
        layer["formula_bytes"] for layer in layers
    ]


def test_a_failed_measurement_says_why(store: JobStore) -> None:
    job = executed(store, "measure", spec(layers=0))
    assert job.status == "failed"
    assert "trained layers must be at least 1 to be measured, got 0" in str(job.error)


def test_a_removed_kind_fails_and_names_the_known_ones(store: JobStore) -> None:
    job = request_job(store, "measure", spec(), "me")
    with store._engine.begin() as connection:
        connection.execute(update(jobs_table).values(kind="old"))
    job_worker.execute_job(job.id, store.url)
    assert "a job must be of a known kind, got 'old'" in str(ended(store, job).error)


def test_a_specification_that_is_no_longer_valid_fails_the_job(store: JobStore) -> None:
    job = request_job(store, "measure", spec(), "me")
    with store._engine.begin() as connection:
        connection.execute(update(jobs_table).values(spec={"method": {"kind": "gone"}}))
    job_worker.execute_job(job.id, store.url)
    with store._engine.begin() as connection:
        row = connection.execute(jobs_table.select()).mappings().one()
    assert row["status"] == "failed"
    assert "ValidationError" in row["error"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AsiError("the reason in one sentence."), "the reason in one sentence."),
        (ZeroDivisionError("division by\nzero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_any_error_is_in_the_store(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def failing(*arguments: Any) -> dict[str, Any]:
        raise error

    answering(monkeypatch, failing)
    job = executed(store, "measure", spec())
    assert (job.status, job.error) == ("failed", expected)


def test_a_job_that_another_attempt_has_is_left_alone(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, lambda *arguments: {"number": 1})
    job = request_job(store, "measure", spec(), "me")
    store.attempts.claim(job.id)
    job_worker.execute_job(job.id, store.url)
    found = store.job(job.id)
    assert found is not None
    assert (found.status, found.attempt) == ("running", 1)


def test_a_lost_attempt_does_not_overwrite(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*arguments: Any) -> dict[str, Any]:
        assert lose_all(store) == 1
        return {"number": 1}

    answering(monkeypatch, slow)
    job = request_job(store, "measure", spec(), "me")
    job_worker.execute_job(job.id, store.url)
    found = store.job(job.id)
    assert found is not None
    assert (found.status, found.result) == ("queued", None)


def test_it_waits_for_its_turn_with_heartbeats(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing a model replaces `Module.__call__` for all threads, so no other may compute."""
    begun = threading.Event()

    def answer(*arguments: Any) -> dict[str, Any]:
        begun.set()
        return {"number": 1}

    answering(monkeypatch, answer)
    job = request_job(store, "measure", spec(), "me")
    executor = worker_context().executor
    worker = threading.Thread(target=job_worker.execute_job, args=(job.id, store.url))
    with held(executor):
        worker.start()
        wait_for(lambda: executor.waiting, 10, "the job's place in the queue")
        assert not begun.is_set()
        first = beat_of(store, job)
        wait_for(lambda: beat_of(store, job) > first, 10, "a heartbeat while waiting")
    worker.join(timeout=10)
    assert begun.is_set()
    assert ended(store, job).result == {"number": 1}


def test_a_job_lost_while_waiting_is_not_computed(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    answering(monkeypatch, lambda *arguments: {"begun": begun.set()})
    job = request_job(store, "measure", spec(), "me")
    executor = worker_context().executor
    worker = threading.Thread(target=job_worker.execute_job, args=(job.id, store.url))
    with held(executor):
        worker.start()
        wait_for(lambda: executor.waiting, 10, "the job's place in the queue")
        assert lose_all(store) == 1
        wait_for(lambda: not beating(job), 10, "the end of the heartbeat")
    worker.join(timeout=10)
    assert not begun.is_set()
    found = store.job(job.id)
    assert found is not None
    assert found.status == "queued"


def beat_of(store: JobStore, job: JobRecord) -> float:
    found = store.job(job.id)
    assert found is not None
    return found.heartbeat_at or 0.0


def beating(job: JobRecord) -> bool:
    return any(thread.name == f"beat-job {job.id}" for thread in threading.enumerate())
