"""A question to the worker, from the button to its answer, on any page."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.job_store import JobRecord
from asi_core.runs.submit.jobs import request_job
from asi_core.training.spec import RunSpec
from asi_core.units import format_seconds
from dashboard import services, visitor
from dashboard.plain import plain

_POLL_SECONDS = 1.0
_RETRY = "Try again"


def job_panel(
    kind: str, spec: RunSpec, *, button: str, key: str, again: str | None = None
) -> dict[str, Any] | None:
    """Draw the button that asks, how far the answer is, or why there is none.

    Args:
        kind: key into `asi_core.runs.job_kinds.JOB_KINDS`.
        button: label of the button that asks.
        key: of the panel's widgets.
        again: label of a button that asks once more although the answer is known, if any.

    Returns:
        the newest result about `spec`, straight away when the store knows one; None without.
    """
    jobs = services.jobs()
    newest, known = jobs.latest(kind, spec), jobs.latest(kind, spec, "completed")
    # What was asked for stands where the button was.
    place = st.empty()
    going = newest if newest is not None and newest.is_active else None
    if going is None:
        with place.container():
            going = _offer(kind, spec, newest, _label(newest, known, button, again), key)
    if going is not None:
        with place.container():
            _watch(going)
    return None if known is None else known.result


def _label(
    newest: JobRecord | None, known: JobRecord | None, button: str, again: str | None
) -> str | None:
    """What the button says; None for no button."""
    if newest is not None and newest.status != "completed":
        return _RETRY
    return button if known is None else again


def _offer(
    kind: str, spec: RunSpec, newest: JobRecord | None, label: str | None, key: str
) -> JobRecord | None:
    """Draw the button, below why there is no answer, and ask when it is pressed.

    Not in a callback, which would be asked what was drawn before: a setting may have been changed
    just before the click.

    Returns:
        the job that was asked for; None if none was, or it was refused.
    """
    again = newest is not None
    if newest is not None and label == _RETRY:
        st.error(f"No answer: {plain(newest.error or newest.status)}")
    if label is None or not st.button(
        label,
        key=f"{key}-ask",
        icon=":material/replay:" if again else ":material/play_arrow:",
        type="secondary" if again else "primary",
        help=f"{job_kind(kind).doing} on this machine takes seconds; the answer is kept.",
    ):
        return None
    try:
        job = request_job(services.jobs(), kind, spec, visitor.owner(), again, visitor.network())
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        return None
    if job.status == "queued":
        services.engine().submit_job(job.id)
    return job


def _watch(job: JobRecord) -> None:
    # Starts the worker, and takes up what an earlier server left, if nobody has yet.
    services.engine()
    st.fragment(job_progress, run_every=_POLL_SECONDS)(job.id)


def job_progress(job_id: str) -> None:
    """How far a job is, redrawn as a fragment until it has ended."""
    job = services.jobs().job(job_id)
    if job is None or not job.is_active:
        # The answer belongs to the whole page, not to this part of it.
        st.rerun()
    st.info(progress_sentence(job, time.time()), icon="spinner")


def progress_sentence(job: JobRecord, now: float) -> str:
    """How far a job is, for people who wait."""
    if job.started_at is None:
        return "Waiting for a place in the worker …"
    gone = max(0.0, now - job.started_at)
    since = f" for {format_seconds(round(gone))}" if gone >= 1 else ""
    return f"{job_kind(job.kind).doing}{since} …"
