"""The outcomes shown in detail: chosen in the figure, in the table or in a box.

The box holds the choice, so that it is in the URL and can be changed with the keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.results.outcomes import Outcome
from asi_core.results.verdict import Verdict
from dashboard.compare.controls import View
from dashboard.frame import URL
from dashboard.links import put

_BOX, _PICTURE, _TABLE = "runs", "pareto", "runs-table"


def select_points() -> None:
    """Choose the points that are selected in the figure."""
    points = st.session_state.get(_PICTURE, {}).get("selection") or []
    put(_BOX, list(dict.fromkeys(p["customdata"] for p in points if p["customdata"])))


def select_rows(labels: Sequence[str]) -> None:
    """Choose the rows that are selected in the table with these labels."""
    rows = st.session_state[_TABLE]["selection"]["rows"]
    put(_BOX, [labels[row] for row in rows])


def selected(view: View, verdict: Verdict) -> list[Outcome]:
    """Draw the box; return the chosen outcomes, by default vanilla and the answer's run."""
    labels = [outcome.label for outcome in view.outcomes]
    chosen = st.multiselect(
        "Runs in detail",
        labels,
        key=_BOX,
        placeholder="The answer's run and vanilla; choose others here, in the figure or the table",
        help="Their curves, ranks and settings are below, and in the report.",
        **URL,
    )
    if chosen:
        return [view.outcome(label) for label in chosen]
    usual = [outcome for outcome in (verdict.reference, verdict.chosen) if outcome is not None]
    return usual or view.outcomes[:2]
