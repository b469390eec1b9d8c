"""Executing one job: read it from the store, compute it in one turn, store the result."""

from __future__ import annotations

import logging
import math
import time
from functools import lru_cache
from typing import Any

from asi_core.datasets import check_images
from asi_core.errors import AsiError, one_sentence
from asi_core.runs.engine.heartbeat import Heartbeat
from asi_core.runs.engine.serial_executor import in_turns
from asi_core.runs.engine.worker import (
    LATER_SECONDS,
    OPENING_SECONDS,
    WorkerContext,
    claiming,
    worker_context,
)
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.attempts import MustWait
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.store.retry import StoreTimeout, retry
from asi_core.runs.store.worker_id import WorkerId

log = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def open_jobs(url: str) -> JobStore:
    """This process's job store at `url`: one SQLAlchemy engine per process."""
    return JobStore(url)


def execute_job(job_id: str, url: str, address: str = "") -> None:
    """Execute the queued job `job_id`; do nothing if another attempt has it.

    Afterwards the store has its result or its error.

    Args:
        url: URL of the store.
        address: this process's address at the Dask scheduler.

    Raises:
        SQLAlchemyError: if the store cannot be opened.
        StoreTimeout: if it does not answer for long.
    """
    store, executor = retry(lambda: open_jobs(url), OPENING_SECONDS), worker_context().executor
    here = str(WorkerId.here(address))
    try:
        with claiming:
            retry(lambda: store.attempts.check_may_begin(job_id, here))
            token = retry(lambda: store.attempts.claim(job_id, here))
    except MustWait:
        # This task is done, and another will be submitted at once.
        time.sleep(LATER_SECONDS)
        return
    if token is None:
        return

    def beat() -> None:
        store.attempts.write(job_id, token, turns=executor.turns)

    try:
        with Heartbeat(f"job {job_id}", beat) as heartbeat:
            _compute_and_store(store, job_id, token, heartbeat)
    except AttemptLost:
        log.warning("job %s was taken over by another attempt", job_id)
    except StoreTimeout as silence:
        log.error("job %s is queued again: %s", job_id, silence)
        retry(lambda: store.attempts.requeue(job_id, token, count_attempt=False), math.inf)


def _compute_and_store(store: JobStore, job_id: str, token: str, heartbeat: Heartbeat) -> None:
    context = worker_context()
    try:
        record = retry(lambda: store.job(job_id))
        assert record is not None
        for _ in in_turns(check_images(record.spec.dataset), context.executor):
            heartbeat.check()
        result = context.executor.run(_computed, record, context, heartbeat)
    except (AttemptLost, StoreTimeout):
        raise
    except AsiError as error:
        _fail(store, job_id, token, one_sentence(error))
    except Exception as error:
        # The boundary of the worker: no error of a job may stop other runs.
        log.exception("job %s failed", job_id)
        _fail(store, job_id, token, f"{type(error).__name__}: {one_sentence(error)}")
    else:
        retry(lambda: store.complete(job_id, token, result))


def _fail(store: JobStore, job_id: str, token: str, error: str) -> None:
    retry(lambda: store.fail(job_id, token, error))


def _computed(record: JobRecord, context: WorkerContext, heartbeat: Heartbeat) -> dict[str, Any]:
    heartbeat.check()
    return job_kind(record.kind).answer(record.spec, context.features)
