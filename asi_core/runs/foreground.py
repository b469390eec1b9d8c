"""Working through queued runs in this process, where no engine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.runs.sweeps import in_working_order
from asi_core.runs.watch import Watch
from asi_core.runs.worker import execute, open_store

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
        watch = Watch(silent_seconds, silent_seconds)
        while (run := store.run(waiting.id)) is not None and run.is_active:
            if run.status == "queued":
                execute(run.id, url)
                continue
            _put_back_lost(store, run.id, watch)
            time.sleep(_POLL_SECONDS)
        assert run is not None, "nobody deletes a run that goes on"
        told(number, run)


def _put_back_lost(store: RunStore, run_id: str, watch: Watch) -> None:
    """Queue a run again whose process is gone or silent; whoever ended that meant no harm."""
    lost, _ = watch.look([a for a in store.attempts.running() if a.id == run_id])
    for attempt in lost:
        store.attempts.requeue(attempt.id, attempt.token, blameless=True)
