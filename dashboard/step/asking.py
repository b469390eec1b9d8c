"""Requesting formulas without a button: each visit asks for what is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.store.job_store import JobRecord
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard import services, visitor
from dashboard.jobs import start_job, watch_jobs
from dashboard.plain import plain
from dashboard.step.steps import FORMULA, Step

_WAIT_SECONDS = 1.0
_WAITING = "Earlier requests of yours are computed first …"


def ask_formulas(steps: Sequence[Step]) -> None:
    """Request the formulas that are neither known nor failed, and draw what they are doing.

    A moved slider leaves views that nobody looks at any more: what is asked next waits on the page
    until the visitor's earlier requests are done, so that there are never many of them.
    """
    specs = {step.label: spec for step in steps if (spec := step.formula_spec) is not None}
    newest = {label: services.jobs().latest(FORMULA, spec) for label, spec in specs.items()}
    failed = {label: job for label, job in newest.items() if job is not None and _has_failed(job)}
    if _offer_again(failed):
        newest |= dict.fromkeys(failed)
        failed = {}
    started, reasons = _start({n: specs[n] for n, job in newest.items() if job is None}, newest)
    _tell(reasons | {label: job.error or job.status for label, job in failed.items()})
    active = [job for job in (*newest.values(), *started) if job is not None and job.is_active]
    if active:
        watch_jobs(active)
    elif len(started) + len(reasons) < sum(job is None for job in newest.values()):
        st.fragment(_await_room, run_every=_WAIT_SECONDS)()


def _start(
    wanted: Mapping[str, RunSpec], newest: Mapping[str, JobRecord | None]
) -> tuple[list[JobRecord], dict[str, str]]:
    """Start formulas while there is room; the jobs, and why others are refused, by label."""
    started: list[JobRecord] = []
    reasons = {}
    own = sum(job is not None and job.is_active for job in newest.values())
    for label, spec in wanted.items():
        if not _has_room(own + len(started)):
            break
        try:
            started.append(start_job(FORMULA, spec))
        except AsiError as error:
            reasons[label] = one_sentence(error)
    return started, reasons


def _has_failed(job: JobRecord) -> bool:
    return not job.is_active and job.status != "completed"


def _offer_again(failed: Iterable[str]) -> bool:
    """Draw a button to repeat what failed, if anything did; whether it was pressed."""
    return bool(failed) and st.button("Try again", icon=":material/replay:", key="step-again")


def _tell(reasons: dict[str, str]) -> None:
    """Why there is no formula: one sentence for each reason, with the methods that it concerns."""
    for reason in dict.fromkeys(reasons.values()):
        labels = ", ".join(label for label, why in reasons.items() if why == reason)
        st.error(f"No formula of {labels}: {plain(reason)}")


def _has_room(own: int = 0) -> bool:
    """Whether this visitor has no other active jobs than `own` of this view, and fewer than are
    allowed."""
    if (owner := visitor.known_owner()) is None:
        return True
    mine = sum(whose == owner for whose, _ in services.jobs().active())
    return mine <= own and mine < read_settings().limits.questions_per_owner


def _await_room() -> None:
    if _has_room():
        st.rerun()
    st.info(_WAITING, icon="spinner")
