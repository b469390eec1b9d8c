"""Measuring the memory of a step on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.frame import drawer
from dashboard.jobs import job_panel
from dashboard.step.steps import MEASURED, Step


def measure_panel(steps: Sequence[Step]) -> None:
    """An expander with a button for each step; the results are drawn by the page."""
    with drawer("Measure here", icon=":material/speed:", key="measure") as panel:
        if not panel.open:
            return
        st.caption(
            "One real training step of the trained part, after a warm one, on this machine: "
            "passes, update and optimiser state. The allocator's reports and the tensors' "
            "lifetimes are two counts, which must agree. “Methods and view” chooses which "
            "numbers are drawn."
        )
        for column, step in zip(st.columns(len(steps)), steps, strict=True):
            with column:
                job_panel(
                    MEASURED,
                    step.spec,
                    button=f"Measure {step.label}",
                    key=f"step-measure-{step.choice}",
                    again=f"Measure {step.label} again",
                )
