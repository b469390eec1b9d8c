"""A job for the worker, from its button to its result, on any page."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    """Draw the button that starts a job, its progress, or why it failed.

    Args:
        kind: key into `asi_core.runs.job_kinds.JOB_KINDS`.
        button: label of the button.
        key: prefix of the widget keys.
        again: label of a button that runs the job again although its result is known, if any.

    Returns:
        the newest stored result for `spec`; None if there is none.
    """
    jobs = services.jobs()
    newest, known = jobs.latest(kind, spec), jobs.latest(kind, spec, "completed")
    # The progress replaces the button.
    place = st.empty()
    active = newest if newest is not None and newest.is_active else None
    if active is None:
        with place.container():
            active = _offer(kind, spec, newest, _label(newest, known, button, again), key)
    if active is not None:
        with place.container():
            watch_job(active)
    return None if known is None else known.result


def _label(
    newest: JobRecord | None, known: JobRecord | None, button: str, again: str | None
) -> str | None:
    """The button's label; None for no button."""
    if newest is not None and newest.status != "completed":
        return _RETRY
    return button if known is None else again


def _offer(
    kind: str, spec: RunSpec, newest: JobRecord | None, label: str | None, key: str
) -> JobRecord | None:
    """Draw the button, with the last failure above it; return the job if one was requested."""
    # Not in a callback, which would get the settings as last drawn: one may have been changed just
    # before the click.
    again = newest is not None
    if newest is not None and label == _RETRY:
        st.error(f"The job failed: {plain(newest.error or newest.status)}")
    if label is None or not st.button(
        label,
        key=f"{key}-ask",
        icon=":material/replay:" if again else ":material/play_arrow:",
        type="secondary" if again else "primary",
        help=f"{job_kind(kind).doing} on this machine takes seconds; the result is kept.",
    ):
        return None
    try:
        return start_job(kind, spec, again)
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        return None


def start_job(kind: str, spec: RunSpec, again: bool = False) -> JobRecord:
    """Request a job for this visitor, and give it to the worker; raises as `request_job`."""
    job = request_job(services.jobs(), kind, spec, visitor.owner(), again, visitor.network())
    if job.status == "queued":
        services.engine().submit_job(job.id)
    return job


def watch_job(job: JobRecord) -> None:
    """Show a job's progress, redrawn as a fragment until it has ended."""
    watch_jobs([job])


def watch_jobs(jobs: Sequence[JobRecord]) -> None:
    """Show the progress of the first of some jobs, redrawn as a fragment until any has ended."""
    # Starts the worker if it is not running; it then resumes what an earlier server left queued.
    services.engine()
    st.fragment(_progress, run_every=_POLL_SECONDS)([job.id for job in jobs])


def _progress(job_ids: Sequence[str]) -> None:
    jobs = [job for job_id in job_ids if (job := services.jobs().job(job_id)) is not None]
    active = [job for job in jobs if job.is_active]
    if len(active) < len(job_ids):
        # The result is drawn by the whole page, not by this fragment.
        st.rerun()
    running = next((job for job in active if job.started_at is not None), active[0])
    st.info(progress_sentence(running, time.time()), icon="spinner")


def progress_sentence(job: JobRecord, now: float) -> str:
    """A job's progress in one sentence."""
    if job.started_at is None:
        return "Queued in the worker …"
    gone = max(0.0, now - job.started_at)
    since = f" for {format_seconds(round(gone))}" if gone >= 1 else ""
    return f"{job_kind(job.kind).doing}{since} …"
