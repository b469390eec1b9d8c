"""The button that launches a comparison, for all pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.records import RunRecord
from asi_core.runs.submit.service import MOST_RUNS_AT_ONCE, known_runs, request_runs
from asi_core.training.spec import RunSpec
from dashboard import services, visitor
from dashboard.plain import plain

Launched = Callable[[list[RunRecord]], None]


def launch_buttons(
    specs: Sequence[RunSpec],
    *,
    label: str,
    key: str,
    icon: str,
    on_launched: Launched,
    most: int = MOST_RUNS_AT_ONCE,
    help: str | None = None,  # noqa: A002 (Streamlit's own name)
) -> None:
    """Draw the button, and a second one if some of the runs are already in the store.

    Args:
        specs: the runs to launch; the button is disabled while there are none.
        on_launched: called with the runs, before anything below the button is drawn.
        most: how many runs may be launched at once.
    """
    known = _known(specs)
    reason = visitor.why_not()
    disabled = not specs or reason is not None
    with st.container(horizontal=True, vertical_alignment="center"):
        wanted = st.button(
            label, key=key, type="primary", icon=icon, help=reason or help, disabled=disabled
        )
        again = bool(known) and st.button(
            "Run all again",
            key=f"{key}-again",
            icon=":material/replay:",
            help="Also repeats runs that are in the store with the same settings, code and images.",
            disabled=disabled,
        )
        if known:
            st.caption(
                f"{known} of {len(specs)} runs were done here before, with the same code and "
                "images: they are shown at once."
            )
    # Not in a callback: it would get the settings as last drawn, and one may have been changed
    # just before the click.
    if specs and (wanted or again):
        _launch(specs, key, on_launched, most, again)
    if refusal := st.session_state.pop(f"{key}-refusal", None):
        st.error(plain(refusal))


def _known(specs: Sequence[RunSpec]) -> int:
    try:
        return known_runs(services.store(), specs)
    except AsiError:
        # Errors about the images are shown where they are chosen, and when the runs are launched.
        return 0


def _launch(
    specs: Sequence[RunSpec], key: str, on_launched: Launched, most: int, again: bool
) -> None:
    """Queue all runs, or none and keep the reason for `launch_buttons` to show."""
    try:
        owner, network = visitor.owner(), visitor.network()
        runs = request_runs(services.store(), specs, owner, most=most, again=again, network=network)
    except AsiError as error:
        st.session_state[f"{key}-refusal"] = one_sentence(error)
        return
    for run in runs:
        if run.status == "queued":
            services.engine().submit(run.id)
    on_launched(runs)
