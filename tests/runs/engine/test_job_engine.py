"""Jobs in a real worker process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from asi_core.runs.engine.engine import RunEngine
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.settings import Settings
from asi_core.training.spec import RunSpec
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("engine")
    return Settings(home=home)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[RunEngine]:
    engine = RunEngine(settings, silent_seconds=5)
    yield engine
    engine.close()


@pytest.fixture
def store(settings: Settings) -> JobStore:
    return JobStore(settings.database_url)


def spec(**changes: Any) -> RunSpec:
    small = {"batch_size": 8, "image_size": 32, "layers": 1}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **small, **changes})


def ended(store: JobStore, job: JobRecord) -> JobRecord:
    def gone() -> JobRecord | None:
        found = store.job(job.id)
        return found if found is not None and not found.is_active else None

    found = wait_for(gone, 120, "the job's end")
    assert found is not None
    return found


def test_a_submitted_job_is_executed(engine: RunEngine, store: JobStore) -> None:
    job = store.create("measure", spec(), "me")
    engine.submit_job(job.id)
    answered = ended(store, job)
    assert (answered.status, answered.error) == ("completed", None)
    assert answered.result is not None
    assert answered.result["meters_agree"] is True


def test_jobs_left_by_an_earlier_server_are_executed(engine: RunEngine, store: JobStore) -> None:
    queued = store.create("measure", spec(seed=1), "me")
    engine.recover()
    assert ended(store, queued).status == "completed"


def test_a_job_that_no_worker_can_start_says_so(
    engine: RunEngine, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create("measure", spec(seed=2), "me")
    monkeypatch.setattr(engine._dispatcher, "_url", "sqlite:////proc/no-such-folder/asi.sqlite")
    engine.submit_job(job.id)
    refused = ended(store, job)
    assert refused.status == "failed"
    assert "no worker could start the job" in str(refused.error)


def test_a_job_whose_worker_was_killed_is_executed_by_the_next(
    engine: RunEngine, store: JobStore
) -> None:
    job = store.create("calibrate", spec(batch_size=64, image_size=128, layers=8), "me")
    engine.submit_job(job.id)

    def worker() -> int | None:
        found = [attempt for attempt in store.attempts.running() if attempt.id == job.id]
        where = WorkerId.read(found[0].worker) if found else None
        return None if where is None else where.pid

    pid = wait_for(worker, 60, "the job's start")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = ended(store, job)
    assert (again.status, again.attempt) == ("completed", 2)
