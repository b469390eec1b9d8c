"""A question to the worker, from the button to its answer, on any page."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.jobs import JobRecord, request_job
from asi_core.training.spec import RunSpec
from asi_core.units import format_seconds
from dashboard import services, visitor
from dashboard.plain import plain

_POLL_SECONDS = 1.0


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
    if newest is not None and newest.is_active:
        # Starts the worker, and takes up what an earlier server left, if nobody has yet.
        services.engine()
        st.fragment(_progress, run_every=_POLL_SECONDS)(newest.id)
    elif newest is not None and newest.status != "completed":
        st.error(f"No answer: {plain(newest.error or newest.status)}")
        _button("Try again", kind, spec, key, again=True)
    elif known is None:
        _button(button, kind, spec, key, again=False)
    elif again is not None:
        _button(again, kind, spec, key, again=True)
    if refusal := st.session_state.pop(f"{key}-refusal", None):
        st.error(plain(refusal))
    return None if known is None else known.result


def _button(label: str, kind: str, spec: RunSpec, key: str, *, again: bool) -> None:
    # Not in a callback, which would be asked what was drawn before: a setting may have been changed
    # just before the click.
    if st.button(
        label,
        key=f"{key}-ask",
        icon=":material/replay:" if again else ":material/play_arrow:",
        type="secondary" if again else "primary",
        help=f"{job_kind(kind).doing} on this machine takes seconds; the answer is kept.",
    ):
        _ask(kind, spec, key, again)


def _ask(kind: str, spec: RunSpec, key: str, again: bool) -> None:
    """Queue the question and draw the page anew; a refusal is told by the panel, and nothing is
    queued."""
    try:
        job = request_job(services.jobs(), kind, spec, visitor.owner(), again, visitor.network())
    except AsiError as error:
        st.session_state[f"{key}-refusal"] = one_sentence(error)
        return
    if job.status == "queued":
        services.engine().submit_job(job.id)
    st.rerun()


def _progress(job_id: str) -> None:
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
