"""The progress of active comparisons, one line each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import streamlit as st

from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import Description
from asi_core.runs.submit.sweeps import cancel_all
from asi_core.units import format_seconds
from dashboard import services, visitor
from dashboard.audience import slowness
from dashboard.compare.kept import library
from dashboard.plain import plain

_POLL_SECONDS = 1.5
_MOST_SHOWN = 3


def watch() -> None:
    """Show active comparisons, and redraw the page whenever a run has ended."""
    active = _active()
    if not active:
        return
    # Starts the worker if it is not running; it then resumes what an earlier server left queued.
    services.engine()
    st.fragment(_lines, run_every=_POLL_SECONDS * slowness())(active)


def _lines(drawn: dict[str, int]) -> None:
    active = _active()
    if active != drawn:
        st.rerun()
    for name in list(active)[:_MOST_SHOWN]:
        if runs := services.store().comparison(name):
            _line(runs)
    if len(active) > _MOST_SHOWN:
        st.caption(f"{len(active) - _MOST_SHOWN} more comparisons are active.")


def _active() -> dict[str, int]:
    """How many runs are queued or running, by comparison, the oldest first."""
    # A dict, because Counters with a missing key and with a count of 0 are equal.
    return dict(Counter(run.comparison for run in services.store().active()))


def _line(runs: Sequence[RunRecord]) -> None:
    comparison = runs[0].comparison
    done = library().steps_done(comparison)
    with st.container(border=True):
        bar, button = st.columns([5, 1], vertical_alignment="center")
        name = library().descriptions().get(comparison, Description()).name
        text = progress_text(runs, done, time.time())
        bar.progress(progress(runs, done), text=plain(f"{name}: {text}" if name else text))
        if visitor.may_change(runs[0]):
            button.button(
                "Cancel all",
                key=f"cancel-all-{comparison}",
                icon=":material/stop:",
                help="Stop all runs of this comparison. Their results so far are kept.",
                on_click=_cancel,
                args=(comparison,),
            )


def _cancel(comparison: str) -> None:
    cancel_all(services.store(), comparison, visitor.owner())


def progress(runs: Sequence[RunRecord], done: dict[str, int]) -> float:
    """Share of all steps that are done, 0 to 1; ended runs count as done."""
    left = sum(run.spec.steps - done.get(run.id, 0) for run in runs if run.is_active)
    return 1 - left / sum(run.spec.steps for run in runs)


def progress_text(runs: Sequence[RunRecord], done: dict[str, int], now: float) -> str:
    """States of the runs, and the time left at the current pace."""
    counts = Counter(
        "stopping" if run.is_active and run.cancel_requested else run.status for run in runs
    )
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    message = f"{runs[-1].spec.model_label}, {len(runs)} runs: {states}"
    begun = [run.started_at for run in runs if run.started_at is not None]
    share = progress(runs, done)
    if not begun or share in (0, 1):
        return message
    return f"{message}; about {format_seconds((now - min(begun)) * (1 - share) / share)} left"
