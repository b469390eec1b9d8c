"""Choosing among the comparisons that the store knows."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from asi_core.runs.records import RunRecord
from dashboard import services

_MOST = 30


def comparison_picker() -> str | None:
    """A box with the newest comparisons; None if there is none."""
    known = {runs[0].comparison: runs for runs in services.store().latest_comparisons(_MOST)}
    if not known:
        return None
    return st.selectbox(
        "Comparison",
        list(known),
        format_func=lambda name: comparison_title(known[name]),
        key="comparison",
        help="All comparisons are kept; the newest comes first.",
    )


def comparison_title(runs: list[RunRecord]) -> str:
    """What a comparison is about, when it was launched, and how far it is."""
    spec = runs[-1].spec
    when = datetime.fromtimestamp(runs[0].created_at).strftime("%d %b %H:%M")
    going = sum(run.is_active for run in runs)
    state = f"{going} of {len(runs)} still going" if going else "ended"
    return f"{when} · {spec.model_label}, {spec.layers} layers, {spec.steps} steps · {state}"
