"""Working through queued runs in this process, where no engine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.runs.sweeps import in_working_order
from asi_core.runs.whereabouts import Whereabouts
from asi_core.runs.worker import execute, open_store

_POLL_SECONDS = 0.5


def work_through(
    url: str, runs: Sequence[RunRecord], told: Callable[[int, RunRecord], None]
) -> None:
    """Run what is still to be run, one after the other, until all have ended.

    What a process that is no more had taken up goes on from its checkpoint; what an app with the
    same store has taken up is waited for.

    Args:
        url: of the store that has the runs.
        told: called with how many have ended, and the last of them.
    """
    store = open_store(url)
    for number, waiting in enumerate(in_working_order(runs), 1):
        if waiting.is_active:
            _put_back(store, waiting.id)
            execute(waiting.id, url)
        while (ended := store.run(waiting.id)) is not None and ended.is_active:
            time.sleep(_POLL_SECONDS)
        assert ended is not None, "nobody deletes a run that goes on"
        told(number, ended)


def _put_back(store: RunStore, run_id: str) -> None:
    """Queue a run again if the process that had it is gone; whoever ended that meant no harm."""
    for attempt in store.attempts.running():
        where = Whereabouts.read(attempt.worker)
        if attempt.id == run_id and where is not None and where.is_gone:
            store.attempts.requeue(attempt.id, attempt.token, blameless=True)
