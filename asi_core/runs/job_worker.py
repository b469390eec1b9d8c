"""Executing one job: from the store, in a turn of its own, back to the store."""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.database import AttemptLost
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.jobs import JobRecord, JobStore
from asi_core.runs.worker import Workshop, workshop

log = logging.getLogger(__name__)

_BEAT_SECONDS = 0.5


@lru_cache(maxsize=4)
def open_jobs(url: str) -> JobStore:
    """This process's jobs at `url`: one engine a process."""
    return JobStore(url)


def execute_job(job_id: str, url: str) -> None:
    """Answer what is queued under `job_id`; do nothing if another attempt has it.

    Whatever happens is in the store afterwards: the result, or the reason why there is none.
    """
    store = open_jobs(url)
    token = store.claim(job_id)
    if token is None:
        return
    try:
        with _Heartbeat(store, job_id, token) as heart:
            _answer(store, job_id, token, heart)
    except AttemptLost:
        log.warning("job %s was taken over by another attempt", job_id)


def _answer(store: JobStore, job_id: str, token: str, heart: _Heartbeat) -> None:
    shop = workshop()
    try:
        record = store.job(job_id)
        assert record is not None
        result = shop.turnstile.run(_computed, record, shop, heart)
    except AttemptLost:
        raise
    except AsiError as error:
        store.fail(job_id, token, one_sentence(error))
    except Exception as error:
        # The boundary of the worker: nothing that a job does may take runs with it.
        log.exception("job %s failed", job_id)
        store.fail(job_id, token, f"{type(error).__name__}: {one_sentence(error)}")
    else:
        store.complete(job_id, token, result)


def _computed(record: JobRecord, shop: Workshop, heart: _Heartbeat) -> dict[str, Any]:
    heart.check()
    return job_kind(record.kind).answer(record.spec, shop.features)


class _Heartbeat:
    """Beats for an attempt while it waits and computes, and knows when it was lost."""

    def __init__(self, store: JobStore, job_id: str, token: str) -> None:
        self._store, self._job_id, self._token = store, job_id, token
        self._closing = threading.Event()
        self._lost: AttemptLost | None = None
        self._thread = threading.Thread(target=self._beat, name=f"beat-{job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `AttemptLost` if the attempt was lost: what nobody waits for is not computed."""
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._closing.wait(_BEAT_SECONDS):
            try:
                self._store.beat(self._job_id, self._token)
            except AttemptLost as lost:
                self._lost = lost
                return
            except SQLAlchemyError as error:
                log.warning("job %s: the store did not answer (%s)", self._job_id, error)
