"""Lengthening a comparison whose runs are completed."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.records import RunRecord
from asi_core.runs.submit.forecast import forecast
from asi_core.runs.submit.lengthening import beginning_of, request_longer
from asi_core.settings import read_settings
from asi_core.training.lengthening import lengthened
from asi_core.training.spec import RunSpec
from dashboard import services, visitor
from dashboard.compare.kept import library
from dashboard.history import show_launched
from dashboard.plain import plain

_HELP = (
    "Trains the completed runs on, each from its last state. The longer runs are a new comparison, "
    "with the whole curves and the numbers of runs that were as long from the start; these stay."
)


def lengthen_panel(runs: Sequence[RunRecord]) -> None:
    """Draw the button that opens the panel, once no run is active and one is completed."""
    completed = [run for run in runs if run.status == "completed"]
    if not completed or any(run.is_active for run in runs):
        return
    with st.popover("Lengthen", icon=":material/resume:", key="lengthen", help=_HELP):
        _panel(completed)


def _panel(runs: Sequence[RunRecord]) -> None:
    done = max(run.spec.steps for run in runs)
    most = read_settings().limits.steps
    if done >= most:
        st.caption(f"These runs have {done} steps already, and {most} are allowed here.")
        return
    steps = st.number_input(
        "Steps in all",
        min_value=done + 1,
        max_value=most,
        value=min(2 * done, most),
        step=10,
        key=f"lengthen-steps-{runs[0].comparison}",
        help=f"Of each run. {done} are done, and the others follow from there.",
    )
    reason = visitor.why_not() or _why_not(runs, steps)
    if reason is not None:
        st.caption(plain(reason[0].upper() + reason[1:]))
    else:
        st.caption(forecast(_what_is_left(runs, steps), library().runs()).sentence)
    if st.button(
        f"Train on to {steps} steps",
        key="lengthen-launch",
        type="primary",
        icon=":material/play_arrow:",
        disabled=reason is not None,
    ):
        _launch(runs, steps)


def _why_not(runs: Sequence[RunRecord], steps: int) -> str | None:
    """Why these runs cannot be lengthened, in one sentence; None if they can."""
    try:
        for run in runs:
            lengthened(run.spec, steps)
            beginning_of(services.store(), run)
    except AsiError as error:
        return one_sentence(error)
    return None


def _what_is_left(runs: Sequence[RunRecord], steps: int) -> list[RunSpec]:
    """Runs that take as long as the steps that are left."""
    return [
        lengthened(run.spec, steps).model_copy(update={"steps": steps - run.spec.steps})
        for run in runs
    ]


def _launch(runs: Sequence[RunRecord], steps: int) -> None:
    try:
        owner, network = visitor.owner(), visitor.network()
        longer = request_longer(services.store(), runs, steps, owner, network=network)
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        return
    for run in longer:
        if run.status == "queued":
            services.engine().submit(run.id)
    show_launched(longer)
    # The whole page, as another comparison is shown.
    st.rerun()
