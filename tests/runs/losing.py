"""Simulates the loss of attempts."""

from __future__ import annotations

from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore


def lose_all(store: RunStore | JobStore) -> int:
    """Requeue all running rows; returns how many."""
    running = store.attempts.running()
    return sum(store.attempts.requeue(attempt.id, attempt.token) for attempt in running)
