"""Working through queued runs in this process, where no engine does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from asi_core.runs.attempts import Running
from asi_core.runs.database import NoAnswer, reason_of
from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.runs.sweeps import in_working_order
from asi_core.runs.watch import Watch, surely_lost
from asi_core.runs.whereabouts import Whereabouts
from asi_core.runs.worker import execute, open_store

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# Longer than servers wait for their own workers: those have the chance first.
_SILENT_SECONDS = 60.0


def work_through(
    url: str,
    runs: Sequence[RunRecord],
    told: Callable[[int, RunRecord], None],
    silent_seconds: float = _SILENT_SECONDS,
) -> None:
    """Run what is still to be run, one after the other, until all have ended.

    What a process that is no more had taken up goes on from its checkpoint; what an app with the
    same store has taken up is waited for, and gone on with if that app ends.

    Args:
        url: of the store that has the runs.
        told: called with how many have ended, and the last of them.
        silent_seconds: without a heartbeat, after which whoever had a run is gone.
    """
    store = open_store(url)
    for number, waiting in enumerate(in_working_order(runs), 1):
        told(number, _ended(store, waiting.id, Watch(silent_seconds, silent_seconds)))


def _ended(store: RunStore, run_id: str, watch: Watch) -> RunRecord:
    while True:
        try:
            run = store.run(run_id)
            assert run is not None, "nobody deletes a run that goes on"
            if not run.is_active:
                return run
            if run.status == "queued":
                execute(run_id, store.url)
                continue
            _put_back_lost(store, run_id, watch)
        except NoAnswer as error:
            log.warning("the store did not answer (%s)", reason_of(error))
            # Nobody could be heard meanwhile.
            watch.forget()
        time.sleep(_POLL_SECONDS)


def _put_back_lost(store: RunStore, run_id: str, watch: Watch) -> None:
    """Queue a run again that nobody is at any more.

    Whoever ended the process of a command meant no harm. What a server's worker is lost with
    counts, and the server sees to it itself: here, only after a long silence.
    """
    going = [attempt for attempt in store.attempts.running() if attempt.id == run_id]
    lost, _ = watch.look([_heard_alone(attempt) for attempt in going])
    for attempt in surely_lost(store.attempts, lost, time.sleep):
        store.attempts.requeue(attempt.id, attempt.token, blameless=attempt.worker is not None)


def _heard_alone(attempt: Running) -> Running:
    """A server's attempt without its process, of which only the heart then tells anything."""
    where = Whereabouts.read(attempt.worker)
    return replace(attempt, worker=None) if where is not None and where.address else attempt
