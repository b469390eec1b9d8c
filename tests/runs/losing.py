"""Attempts that lose what they are at, as those whose worker was given up."""

from __future__ import annotations

from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore


def lose_all(store: RunStore | JobStore) -> int:
    """Queue again whatever is running; returns how many rows that were."""
    running = store.attempts.running()
    return sum(store.attempts.requeue(attempt.id, attempt.token) for attempt in running)
