"""Runs that a command asks for and executes itself, until they have ended or a signal comes."""

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
    """Ask for runs, and work through them in this process.

    Args:
        ask: queues the runs.
        told: called with how many have ended, and the last of them.

    Returns:
        the store, and the runs as they have ended.

    Raises:
        Interrupted: if a signal came; what was asked for here is cancelled by then.
        As `ask`.
    """
    store = opened(RunStore)
    with noting() as signals:
        stop = Stop(lambda: len(signals), since=time.time())
        runs = ask(store)
        try:
            _tell_what_goes_on(runs, stop.since)
            work_through(store.url, runs, message, stop=stop)
        except BaseException:
            # Nobody would know that the rest of them is still to be run.
            give_up(store, runs, stop)
            raise
        if signals:
            raise Interrupted(signals[0], _became_of(store, runs))
    return store, store.comparison(runs[0].comparison)


def _tell_what_goes_on(runs: Sequence[RunRecord], since: float) -> None:
    going = [run for run in runs if run.is_active and run.created_at < since]
    if going:
        say(f"run {going[0].id} is the same and goes on already: it is waited for.")


def _became_of(store: RunStore, runs: Sequence[RunRecord]) -> str:
    """One line about runs that were to be stopped."""
    try:
        found = store.comparison(runs[0].comparison)
        steps = store.last_step(found[0].id)
    except STORE_ERRORS:
        return "interrupted: the store does not answer; the app goes on with it when it starts."
    if going := [run for run in found if run.is_active]:
        return f"interrupted: run {going[0].id} goes on, as others have asked for it or have it."
    if len(found) > 1:
        done = sum(run.status == "completed" for run in found)
        return (
            f"cancelled: {done} of {len(found)} runs were done, and what was measured is kept as "
            f"comparison {found[0].comparison}."
        )
    (run,) = found
    if run.status != "cancelled":
        return f"interrupted: run {run.id} had {run.status} already."
    return (
        f"cancelled: run {run.id} came to step {steps} of {run.spec.steps}, and what was measured "
        "is kept."
    )
