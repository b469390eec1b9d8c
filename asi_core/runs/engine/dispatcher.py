"""Submits a Dask task for every queued run and job.

A worker with a free thread takes a task and starts whichever run is next in the queue. A lost or
duplicate task does no harm.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from distributed import Future

from asi_core.errors import one_sentence
from asi_core.runs.engine.cluster import Cluster
from asi_core.runs.store.database import STORE_ERRORS, reason_of

log = logging.getLogger(__name__)

What = Literal["run", "job"]

# After this time, rows queued by another server of the same store are submitted here too.
_FOREIGN_SECONDS = 60.0
_MOST_REFUSALS = 3


class Dispatcher:
    """Submits Dask tasks for what is queued, on behalf of one server.

    Args:
        url: URL of the store.
        checkpoints: folder of the checkpoints; None for the folder in each worker's settings.
        refuse: called with "run" or "job", its id and the reason, after repeated failures to start.
    """

    def __init__(
        self,
        cluster: Cluster,
        url: str,
        checkpoints: str | None,
        refuse: Callable[[What, str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._url, self._checkpoints = cluster, url, checkpoints
        self._refuse, self._clock = refuse, clock
        self._lock = threading.Lock()
        # Ids of runs and jobs that have a task, and of those that this server is responsible for.
        self._submitted: set[str] = set()
        self._mine: set[str] = set()
        self._refusals: Counter[str] = Counter()
        self._first_seen: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any task is pending."""
        return bool(self._submitted)

    def submit(self, what: What, row_id: str) -> None:
        """Submit a task for a row that this server has queued, if it has none."""
        with self._lock:
            self._mine.add(row_id)
            if row_id in self._submitted:
                return
            self._submitted.add(row_id)
        key = new_key(f"{what}-{row_id}")
        send = self._cluster.submit
        try:
            if what == "run":
                future = send(_execute_run, self._url, self._checkpoints, key=key, priority=0)
            else:
                future = send(_execute_job, row_id, self._url, key=key, priority=1)
        except Exception as error:
            # Any error of Dask: the row stays queued, and the next patrol submits another task.
            log.warning("no task for %s %s yet (%s)", what, row_id, one_sentence(error))
            self._submitted.discard(row_id)
        else:
            future.add_done_callback(partial(self._settled, what, row_id))

    def take_over(self, row_id: str) -> None:
        """Submit a task for a row whose attempt was lost, at the next patrol."""
        with self._lock:
            self._mine.add(row_id)

    def submit_waiting(
        self, read: Callable[[], Mapping[What, Mapping[str, float]]], *, everything: bool = False
    ) -> None:
        """Submit a task for every queued row that has none.

        Rows queued by another server are left to it for some time, as it may have ended.

        Args:
            read: returns when each queued row was queued: kind -> id -> Unix seconds.
            everything: whether to include other servers' rows at once.
        """
        before = set(self._mine)
        waiting = read()
        now, latest = self._clock(), time.time() - _FOREIGN_SECONDS
        ids = {row_id for rows in waiting.values() for row_id in rows}
        # The system clock may have been changed, so the time since a row was first seen counts too.
        seen = self._first_seen = {row_id: self._first_seen.get(row_id, now) for row_id in ids}
        with self._lock:
            # Keeps what was launched after `before` was read.
            self._mine -= before - ids
        for what, rows in waiting.items():
            for row_id, queued_at in rows.items():
                is_old = queued_at <= latest or now - seen[row_id] >= _FOREIGN_SECONDS
                if everything or is_old or row_id in before:
                    self.submit(what, row_id)

    def forget(self) -> None:
        """Forget all tasks, as they were lost together with the workers."""
        with self._lock:
            self._submitted.clear()

    def _settled(self, what: What, row_id: str, future: Future[None]) -> None:
        """Handle the end of a task. If its row is still queued, the next patrol submits another."""
        self._submitted.discard(row_id)
        if future.status == "finished":
            self._refusals.clear()
        if future.status != "error":
            return
        reason = reason_of(future.exception())
        log.error("%s %s could not be started: %s", what, row_id, reason)
        self._refusals[row_id] += 1
        if self._refusals[row_id] >= _MOST_REFUSALS:
            # A row that no worker can start must not wait forever.
            try:
                self._refuse(what, row_id, f"no worker could start the {what} ({reason}).")
            except STORE_ERRORS as silence:
                log.warning("the store did not answer (%s)", reason_of(silence))


def new_key(what: str) -> str:
    """A unique key of a task: for the key of an earlier task, Dask would return its result."""
    return f"{what}-{os.getpid()}-{time.monotonic_ns()}"


def _execute_run(url: str, checkpoints: str | None) -> None:
    from distributed import get_worker

    from asi_core.runs.engine.worker import execute_next

    execute_next(url, checkpoints, get_worker().address)


def _execute_job(job_id: str, url: str) -> None:
    from distributed import get_worker

    from asi_core.runs.engine.job_worker import execute_job

    execute_job(job_id, url, get_worker().address)
