"""A Dask task for every run and job that is queued.

A worker with a free thread takes a task and starts whichever run is next in the queue; a task that
is lost or doubled does no harm.
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

# What another server of the same store has queued, and has not handed over by then, is taken up.
_FOREIGN_SECONDS = 60.0
_MOST_REFUSALS = 3


class Dispatcher:
    """Submits Dask tasks for what is queued, on behalf of one server.

    Args:
        url: the store's.
        checkpoints: folder of the checkpoints; None for that of each worker's own settings.
        refuse: called with what, its id and the reason, when workers failed to start it repeatedly.
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
        # Runs and jobs that have a task, and those that this server is to see to.
        self._submitted: set[str] = set()
        self._mine: set[str] = set()
        self._refusals: Counter[str] = Counter()
        self._first_seen: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any task has not been taken."""
        return bool(self._submitted)

    def submit(self, what: What, row_id: str) -> None:
        """Submit a task for what this server has queued, if it has none."""
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
            # Whatever Dask says: it stays queued, and the next patrol submits another task.
            log.warning("no task for %s %s yet (%s)", what, row_id, one_sentence(error))
            self._submitted.discard(row_id)
        else:
            future.add_done_callback(partial(self._settled, what, row_id))

    def take_over(self, row_id: str) -> None:
        """Submit a task for what another attempt has lost, at the next patrol."""
        with self._lock:
            self._mine.add(row_id)

    def submit_waiting(
        self, read: Callable[[], Mapping[What, Mapping[str, float]]], *, everything: bool = False
    ) -> None:
        """Submit a task for everything that waits and has none.

        What another server has queued waits for that one; for some time, as it may have ended.

        Args:
            read: of what waits, when each row was queued, Unix seconds, by its id.
            everything: whether no other server can be meant to see to it.
        """
        before = set(self._mine)
        waiting = read()
        now, latest = self._clock(), time.time() - _FOREIGN_SECONDS
        ids = {row_id for rows in waiting.values() for row_id in rows}
        # Times of day may have been set meanwhile: what was seen for long enough is old as well.
        seen = self._first_seen = {row_id: self._first_seen.get(row_id, now) for row_id in ids}
        with self._lock:
            # Without what was launched after reading.
            self._mine -= before - ids
        for what, rows in waiting.items():
            for row_id, queued_at in rows.items():
                is_old = queued_at <= latest or now - seen[row_id] >= _FOREIGN_SECONDS
                if everything or is_old or row_id in before:
                    self.submit(what, row_id)

    def forget(self) -> None:
        """All tasks were lost, with the workers that were to take them."""
        with self._lock:
            self._submitted.clear()

    def _settled(self, what: What, row_id: str, future: Future[None]) -> None:
        """A task was used or lost. If its row still waits, another is submitted."""
        self._submitted.discard(row_id)
        if future.status == "finished":
            self._refusals.clear()
        if future.status != "error":
            return
        reason = reason_of(future.exception())
        log.error("%s %s could not be taken up: %s", what, row_id, reason)
        self._refusals[row_id] += 1
        if self._refusals[row_id] >= _MOST_REFUSALS:
            # What no worker can even begin must not wait for ever.
            try:
                self._refuse(what, row_id, f"no worker could take up the {what} ({reason}).")
            except STORE_ERRORS as silence:
                log.warning("the store did not answer (%s)", reason_of(silence))


def new_key(what: str) -> str:
    """The name of a task that never was: one that has ended would give its result again."""
    return f"{what}-{os.getpid()}-{time.monotonic_ns()}"


def _execute_run(url: str, checkpoints: str | None) -> None:
    from distributed import get_worker

    from asi_core.runs.engine.worker import execute_next

    execute_next(url, checkpoints, get_worker().address)


def _execute_job(job_id: str, url: str) -> None:
    from distributed import get_worker

    from asi_core.runs.engine.job_worker import execute_job

    execute_job(job_id, url, get_worker().address)
