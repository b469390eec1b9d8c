"""Requesting formulas without a button: each visit asks for what is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.store.job_store import JobRecord
from asi_core.settings import read_settings
from dashboard import services, visitor
from dashboard.jobs import start_job, watch_jobs
from dashboard.plain import plain
from dashboard.step.steps import FORMULA, Step

_WAIT_SECONDS = 1.0
_WAITING = "Earlier requests of yours are computed first …"


def ask_formulas(steps: Sequence[Step]) -> None:
    """Request the formulas that are neither known nor failed, and draw what they are doing.

    A moved slider requests one after the other: what has no room in the queue waits on the page.
    """
    jobs = services.jobs()
    specs = {step.label: spec for step in steps if (spec := step.formula_spec) is not None}
    newest = {label: jobs.latest(FORMULA, spec) for label, spec in specs.items()}
    missing = [label for label, job in newest.items() if job is None]
    failed = {label: job for label, job in newest.items() if job is not None and _has_failed(job)}
    if _offer_again(failed):
        missing += failed
        failed = {}
    refused: dict[str, str] = {}
    waiting = []
    for label in missing:
        if not _has_room():
            waiting.append(label)
            continue
        try:
            newest[label] = start_job(FORMULA, specs[label])
        except AsiError as error:
            refused[label] = one_sentence(error)
    _tell(refused | {label: job.error or job.status for label, job in failed.items()})
    if active := [job for job in newest.values() if job is not None and job.is_active]:
        watch_jobs(active)
    elif waiting:
        st.fragment(_await_room, run_every=_WAIT_SECONDS)()


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


def _has_room() -> bool:
    """Whether another request of this visitor would be accepted."""
    if (owner := visitor.known_owner()) is None:
        return True
    mine = sum(whose == owner for whose, _ in services.jobs().active())
    return mine < read_settings().limits.questions_per_owner


def _await_room() -> None:
    if _has_room():
        st.rerun()
    st.info(_WAITING, icon="spinner")
