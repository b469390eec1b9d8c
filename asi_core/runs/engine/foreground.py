"""Executing queued runs in this process, without an engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from asi_core.runs.engine.watch import Watch, surely_lost
from asi_core.runs.records import RunRecord
from asi_core.runs.store.attempts import Running
from asi_core.runs.store.database import STORE_ERRORS, reason_of
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.runs.submit.sweeps import in_working_order

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# Longer than servers wait for their own workers, so that they react first.
_SILENT_SECONDS = 60.0
# Short enough that a stop request seems immediate.
_STOP_POLL_SECONDS = 0.1
# Enough for a run that is training to stop; one that is preparing may take longer.
_STOPPING_SECONDS = 5.0


@dataclass(frozen=True)
class Stop:
    """A request to stop waiting for runs.

    Attributes:
        asked: number of requests so far. After the first, runs get the time to stop properly.
        since: Unix seconds. Runs launched from then on are cancelled, wherever they are executed.
            Earlier runs belong to other requests for the same.
    """

    asked: Callable[[], int] = lambda: 0
    since: float = 0.0


_NEVER = Stop()


def work_through(
    url: str,
    runs: Sequence[RunRecord],
    message: Callable[[int, RunRecord], None],
    silent_seconds: float = _SILENT_SECONDS,
    stop: Stop = _NEVER,
) -> None:
    """Execute the runs that have not ended, one after the other.

    Runs of a process that has ended resume from their checkpoint. Runs that an app with the same
    store executes are waited for, and resumed if that app ends.

    Args:
        url: URL of the store of the runs.
        message: called after each run with the number of ended runs and the last one.
        silent_seconds: seconds without a heartbeat after which the process of a run is lost.
        stop: polled; on a request, it calls `give_up` and returns.
    """
    store = RunStore(url)
    for number, waiting in enumerate(in_working_order(runs), 1):
        ended = _ended(store, waiting.id, Watch(silent_seconds, silent_seconds), stop)
        if ended is None:
            give_up(store, runs, stop)
            return
        message(number, ended)


def give_up(store: RunStore, runs: Sequence[RunRecord], stop: Stop) -> None:
    """Cancel what this process executes, and what was launched since `stop.since`.

    A run stops within a step. If it has not after some seconds, or at a second request, it is ended
    from outside: the current step is lost, measurements are kept. If the store does not answer,
    nothing is cancelled: the next process that finds the run without its process resumes it.
    """
    try:
        for run in reversed(in_working_order(runs)):
            if run.created_at >= stop.since or run.id in _executed_here(store):
                store.request_cancel(run.id)
        until, before = time.monotonic() + _STOPPING_SECONDS, stop.asked()
        while time.monotonic() < until and stop.asked() <= max(before, 1):
            if not _to_be_stopped(store, runs):
                return
            time.sleep(_STOP_POLL_SECONDS)
        for attempt in _executed_here(store).values():
            store.end_lost(attempt, "cancelled", None)
    except STORE_ERRORS as error:
        log.warning("the store did not answer (%s)", reason_of(error))


def _to_be_stopped(store: RunStore, runs: Sequence[RunRecord]) -> list[str]:
    ids = {run.id for run in runs}
    return [a.id for a in store.attempts.running() if a.id in ids and a.cancel_requested]


def _executed_here(store: RunStore) -> dict[str, Running]:
    """Attempts of this process, by run id."""
    here = str(WorkerId.here())
    return {a.id: a for a in store.attempts.running() if a.worker == here}


def _ended(store: RunStore, run_id: str, watch: Watch, stop: Stop) -> RunRecord | None:
    """Wait for the end of a run, executing it if needed; None if stopped before."""
    while not stop.asked():
        try:
            run = store.run(run_id)
            assert run is not None, "active runs are not deleted"
            if not run.is_active:
                return run
            if run.status == "queued":
                _execute(run_id, store.url, stop)
                continue
            _put_back_lost(store, run_id, watch)
        except STORE_ERRORS as error:
            log.warning("the store did not answer (%s)", reason_of(error))
            # No heartbeat could be written meanwhile.
            watch.forget()
        time.sleep(_STOP_POLL_SECONDS if stop.asked() else _POLL_SECONDS)
    return None


def _execute(run_id: str, url: str, stop: Stop) -> None:
    """Execute a queued run, until it has ended or is stopped.

    All of it, even the import of PyTorch, is done in another thread; this one polls `stop`.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="run")
    execution: Future[None] = pool.submit(_execute_at_once, run_id, url)
    pool.shutdown(wait=False)
    while not wait([execution], _STOP_POLL_SECONDS).done:
        if stop.asked():
            return
    execution.result()


def _execute_at_once(run_id: str, url: str) -> None:
    from asi_core.runs.engine.worker import execute

    execute(run_id, url)


def _put_back_lost(store: RunStore, run_id: str, watch: Watch) -> None:
    """Queue a run again whose process was lost.

    If it was a command's process, the user ended it, and it does not count as a try. The loss of a
    server's worker counts. The server handles it itself, so here it is requeued only after a long
    time without a heartbeat.
    """
    running = [attempt for attempt in store.attempts.running() if attempt.id == run_id]
    lost, _ = watch.check([_without_worker(attempt) for attempt in running])
    for attempt in surely_lost(store.attempts, lost, time.sleep):
        store.put_back(attempt, count_attempt=attempt.worker is None)


def _without_worker(attempt: Running) -> Running:
    """A server's attempt without its worker id, so that only its heartbeat is checked."""
    where = WorkerId.read(attempt.worker)
    return replace(attempt, worker=None) if where is not None and where.address else attempt
