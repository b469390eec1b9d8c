"""Queueing and executing runs in the command's process, until they end or a signal arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from asi_core.cli.signals import Interrupted, noting
from asi_core.cli.stores import opened
from asi_core.cli.terminal import say
from asi_core.runs.engine.foreground import Stop, give_up, work_through
from asi_core.runs.records import RunRecord
from asi_core.runs.store.database import STORE_ERRORS
from asi_core.runs.store.run_store import RunStore

OWNER = "command line"


def execute_all(
    ask: Callable[[RunStore], list[RunRecord]],
    message: Callable[[int, RunRecord], None] = lambda number, run: None,
) -> tuple[RunStore, list[RunRecord]]:
    """Queue runs, and execute them in this process.

    Args:
        ask: queues the runs.
        message: called after each run with the number of ended runs and the last one.

    Returns:
        the store, and the ended runs.

    Raises:
        Interrupted: if a signal arrived; the runs queued here are cancelled by then.
        Exception: whatever `ask` raises.
    """
    store = opened(RunStore)
    with noting() as signals:
        stop = Stop(lambda: len(signals), since=time.time())
        runs = ask(store)
        try:
            _report_active_run(runs, stop.since)
            work_through(store.url, runs, message, stop=stop)
        except BaseException:
            # Otherwise the rest would stay queued unnoticed.
            give_up(store, runs, stop)
            raise
        if signals:
            raise Interrupted(signals[0], _state_after(store, runs))
    return store, store.comparison(runs[0].comparison)


def _report_active_run(runs: Sequence[RunRecord], since: float) -> None:
    active = [run for run in runs if run.is_active and run.created_at < since]
    if active:
        say(f"run {active[0].id} is identical and already active: waiting for it.")


def _state_after(store: RunStore, runs: Sequence[RunRecord]) -> str:
    """One line about the state of interrupted runs."""
    try:
        found = store.comparison(runs[0].comparison)
        steps = store.last_step(found[0].id)
    except STORE_ERRORS:
        return "interrupted: the store does not answer; the app resumes the run when it starts."
    if active := [run for run in found if run.is_active]:
        return f"interrupted: run {active[0].id} continues, as another user or process needs it."
    if len(found) > 1:
        done = sum(run.status == "completed" for run in found)
        return (
            f"cancelled: {done} of {len(found)} runs were completed; measurements are kept in "
            f"comparison {found[0].comparison}."
        )
    (run,) = found
    if run.status != "cancelled":
        return f"interrupted: run {run.id} was already {run.status}."
    return (
        f"cancelled: run {run.id} reached step {steps} of {run.spec.steps}; its measurements are "
        "kept."
    )
