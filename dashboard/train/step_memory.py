"""The memory of one step of each run, as it was recorded while the run trained."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.figures.step import plot_step
from asi_core.runs.records import RunRecord
from asi_core.units import format_bytes
from dashboard.drawings import drawings
from dashboard.feed import RunFeed
from dashboard.frame import figure
from dashboard.history import run_labels

# More panels side by side cannot be read.
MOST_STEPS = 4


def recorded_steps(runs: Sequence[RunRecord], feeds: Sequence[RunFeed]) -> None:
    """Draw the recorded steps side by side, if there are any yet; not the linear probe's, of which
    nothing could be seen beside them."""
    labelled = zip(run_labels(list(runs)), runs, feeds, strict=True)
    known = [
        (label, run, feed.timeline)
        for label, run, feed in labelled
        if feed.timeline is not None and run.spec.layers != 0
    ]
    if not known:
        return
    st.markdown("##### What one step needs at a time")
    shown = known[:MOST_STEPS]
    timelines = {label: event.timeline for label, _, event in shown}
    peaks = ", ".join(f"{n} {format_bytes(t.peak.nbytes)}" for n, t in timelines.items())
    caption = (
        f"Measured in step {shown[0][2].step} of each run, by use, in the order in which operators "
        "ran; what operators use within is by rule. Backward passes are shaded, and the diamond is "
        "the peak. What was there before (weights, the batch, optimiser state) is left out. "
        f"Peaks: {peaks}."
    )
    if len(known) > MOST_STEPS:
        caption += f" The first {MOST_STEPS} of {len(known)} runs are drawn."
    key = ("train-step", *((run.id, event.step) for _, run, event in shown))
    figure(drawings.get(key, lambda: plot_step(timelines)), key="train-step", caption=caption)
