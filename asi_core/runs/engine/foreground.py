"""Working through queued runs in this process, where no engine does."""

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
# Longer than servers wait for their own workers: those have the chance first.
_SILENT_SECONDS = 60.0
# Between two looks at whether somebody wants to stop: nobody feels the delay.
_STOP_POLL_SECONDS = 0.1
# In which a run that goes on step by step has stopped; one that prepares itself may take longer.
_STOPPING_SECONDS = 5.0


@dataclass(frozen=True)
class Stop:
    """Whether whoever waits for runs wants to wait no more.

    Attributes:
        asked: how often somebody has: once, and runs are given the time to stop in good order.
        since: Unix seconds; what was launched from then on is cancelled, wherever it goes on.
            Earlier runs are others', who have asked for the same.
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
    """Run what is still to be run, one after the other, until all have ended.

    What a process that is no more had taken up goes on from its checkpoint; what an app with the
    same store has taken up is waited for, and gone on with if that app ends.

    Args:
        url: of the store that has the runs.
        told: called with how many have ended, and the last of them.
        silent_seconds: without a heartbeat, after which whoever had a run is gone.
        stop: asked again and again; then it gives up (`give_up`) and returns.
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

    A run stops within a step. What has not after some seconds, or if somebody asks once more, is
    ended from outside: what it was at is lost, what it has measured is not. A store that does not
    answer is left as it is: whoever finds a run later whose process is gone goes on with it.
    """
    try:
        for run in reversed(in_working_order(runs)):
            if run.created_at >= stop.since or run.id in _executed_here(store):
                store.request_cancel(run.id)
        until, asked = time.monotonic() + _STOPPING_SECONDS, stop.asked()
        while time.monotonic() < until and stop.asked() <= max(asked, 1):
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
    """Attempts of this process, by their run."""
    here = str(WorkerId.here())
    return {a.id: a for a in store.attempts.running() if a.worker == here}


def _ended(store: RunStore, run_id: str, watch: Watch, stop: Stop) -> RunRecord | None:
    """The run once it has; None if somebody wants to stop before."""
    while not stop.asked():
        try:
            run = store.run(run_id)
            assert run is not None, "nobody deletes a run that goes on"
            if not run.is_active:
                return run
            if run.status == "queued":
                _execute(run_id, store.url, stop)
                continue
            _put_back_lost(store, run_id, watch)
        except STORE_ERRORS as error:
            log.warning("the store did not answer (%s)", reason_of(error))
            # Nobody could be heard meanwhile.
            watch.forget()
        time.sleep(_STOP_POLL_SECONDS if stop.asked() else _POLL_SECONDS)
    return None


def _execute(run_id: str, url: str, stop: Stop) -> None:
    """Execute a queued run, until it has ended or somebody wants to stop.

    In a thread, even the import of PyTorch: this one looks at whether somebody does.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="run")
    going: Future[None] = pool.submit(_execute_at_once, run_id, url)
    pool.shutdown(wait=False)
    while not wait([going], _STOP_POLL_SECONDS).done:
        if stop.asked():
            return
    going.result()


def _execute_at_once(run_id: str, url: str) -> None:
    from asi_core.runs.engine.worker import execute

    execute(run_id, url)


def _put_back_lost(store: RunStore, run_id: str, watch: Watch) -> None:
    """Queue a run again that nobody is at any more.

    Whoever ended the process of a command meant no harm. What a server's worker is lost with
    counts, and the server sees to it itself: here, only after a long silence.
    """
    going = [attempt for attempt in store.attempts.running() if attempt.id == run_id]
    lost, _ = watch.check([_heard_alone(attempt) for attempt in going])
    for attempt in surely_lost(store.attempts, lost, time.sleep):
        store.attempts.requeue(attempt.id, attempt.token, count_attempt=attempt.worker is None)


def _heard_alone(attempt: Running) -> Running:
    """A server's attempt without its process, of which only the heart then tells anything."""
    where = WorkerId.read(attempt.worker)
    return replace(attempt, worker=None) if where is not None and where.address else attempt
