"""Executing one job: from the store, in a turn of its own, back to the store."""

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
from asi_core.runs.engine.worker import LATER_SECONDS, OPENING_SECONDS, Workshop, claiming, workshop
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.attempts import MustWait
from asi_core.runs.store.database import AttemptLost
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.store.retry import StillSilent, insist
from asi_core.runs.store.worker_id import Whereabouts

log = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def open_jobs(url: str) -> JobStore:
    """This process's jobs at `url`: one engine a process."""
    return JobStore(url)


def execute_job(job_id: str, url: str, address: str = "") -> None:
    """Answer what is queued under `job_id`; do nothing if another attempt has it.

    Whatever happens is in the store afterwards: the result, or the reason why there is none.

    Args:
        url: the store's.
        address: of this process, as a scheduler knows it.

    Raises:
        SQLAlchemyError: if the store cannot be opened.
        StillSilent: if it does not answer for long.
    """
    store, turns = insist(lambda: open_jobs(url), OPENING_SECONDS), workshop().turnstile
    here = str(Whereabouts.here(address))
    try:
        with claiming:
            insist(lambda: store.attempts.check_may_begin(job_id, here))
            token = insist(lambda: store.attempts.claim(job_id, here))
    except MustWait:
        # This ticket is used, and another will be given at once.
        time.sleep(LATER_SECONDS)
        return
    if token is None:
        return

    def beat() -> None:
        store.attempts.write(job_id, token, turns=turns.turns)

    try:
        with Heartbeat(f"job {job_id}", beat) as heart:
            _answer(store, job_id, token, heart)
    except AttemptLost:
        log.warning("job %s was taken over by another attempt", job_id)
    except StillSilent as silence:
        log.error("job %s is put back: %s", job_id, silence)
        insist(lambda: store.attempts.requeue(job_id, token, blameless=True), math.inf)


def _answer(store: JobStore, job_id: str, token: str, heart: Heartbeat) -> None:
    shop = workshop()
    try:
        record = insist(lambda: store.job(job_id))
        assert record is not None
        for _ in in_turns(check_images(record.spec.dataset), shop.turnstile):
            heart.check()
        result = shop.turnstile.run(_computed, record, shop, heart)
    except (AttemptLost, StillSilent):
        raise
    except AsiError as error:
        _fail(store, job_id, token, one_sentence(error))
    except Exception as error:
        # The boundary of the worker: nothing that a job does may take runs with it.
        log.exception("job %s failed", job_id)
        _fail(store, job_id, token, f"{type(error).__name__}: {one_sentence(error)}")
    else:
        insist(lambda: store.complete(job_id, token, result))


def _fail(store: JobStore, job_id: str, token: str, error: str) -> None:
    insist(lambda: store.fail(job_id, token, error))


def _computed(record: JobRecord, shop: Workshop, heart: Heartbeat) -> dict[str, Any]:
    heart.check()
    return job_kind(record.kind).answer(record.spec, shop.features)
