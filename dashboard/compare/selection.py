"""Which outcomes are looked at in detail: chosen in the picture, in the table or in a box.

The box holds the choice, so that it is in the URL and can be changed with the keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.results.outcomes import Outcome
from asi_core.results.verdict import Verdict
from dashboard.compare.controls import View
from dashboard.frame import URL

_BOX, _PICTURE, _TABLE = "runs", "pareto", "runs-table"


def select_points() -> None:
    """Take over what is selected in the picture."""
    points = st.session_state[_PICTURE].get("selection") or []
    st.session_state[_BOX] = list(dict.fromkeys(p["customdata"] for p in points if p["customdata"]))


def select_rows(labels: Sequence[str]) -> None:
    """Take over what is selected in the table of these labels."""
    rows = st.session_state[_TABLE]["selection"]["rows"]
    st.session_state[_BOX] = [labels[row] for row in rows]


def selected(view: View, verdict: Verdict) -> list[Outcome]:
    """The box; without a choice, vanilla and the answer's run."""
    labels = [outcome.label for outcome in view.outcomes]
    chosen = st.multiselect(
        "Runs in detail",
        labels,
        key=_BOX,
        placeholder="The answer's run and vanilla; choose others here, in the picture or the table",
        help="Their curves, spectra and settings are below, and in the report.",
        **URL,
    )
    if chosen:
        return [view.outcome(label) for label in chosen]
    usual = [outcome for outcome in (verdict.reference, verdict.chosen) if outcome is not None]
    return usual or view.outcomes[:2]
