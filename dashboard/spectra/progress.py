"""Compression over the course of a run: ranks, energy, drift and gradients."""

from __future__ import annotations

import streamlit as st

from asi_core.figures import drift
from dashboard.frame import URL, figure
from dashboard.spectra.choice import Subject
from dashboard.spectra.words import channel_mode, mode_names


def show_progress(subject: Subject) -> None:
    """Four figures over all probes of the runs."""
    st.subheader("Over the course of the run", divider="gray")
    names = mode_names(subject.chosen, subject.probe)
    if st.session_state.get("mode") not in (None, *names):
        # Chosen for a layer whose input has other modes.
        del st.session_state["mode"]
    name = st.segmented_control(
        "Mode of the rank figure",
        names,
        default=names[channel_mode(names)],
        required=True,
        format_func=str.capitalize,
        key="mode",
        help="The first figure below shows the rank of this mode over the run.",
        **URL,
    )
    runs = [run.rows(subject.layer) for run in subject.peers]
    chosen = subject.chosen.rows(subject.layer)
    mode = names.index(name)
    parts = [
        ("ranks", drift.plot_ranks(runs, mode, name), _RANKS),
        ("kept", drift.plot_captured_energy(runs), _KEPT),
        ("drift", drift.plot_drift(chosen, names), _drift_caption(chosen)),
        ("cosine", drift.plot_gradient_cosine(runs), _COSINE),
    ]
    columns = [column for _ in range(0, len(parts), 2) for column in st.columns(2)]
    for column, (key, plot, caption) in zip(columns, parts, strict=True):
        with column:
            if plot.data:
                figure(plot, key=key, caption=caption)
            else:
                title = plot.layout.title.text
                st.caption(f"**{title}**: nothing to draw for these runs. {caption}")


_RANKS = (
    "Measured. ASI's ranks are fixed at the first step; HOSVD's are chosen again in every step. "
    "Methods without subspaces have no ranks."
)
_KEPT = (
    "Measured on each run's own input. Dotted: what HOSVD would keep of the same input at the same "
    "ranks, which is close to the optimum."
)
_COSINE = (
    "Measured in the training step, against the exact gradient for the same output gradient. Exact "
    "gradients, such as vanilla's, are not drawn."
)


def _drift_caption(run: drift.ProbedRun) -> str:
    if not any(run.drift):
        return (
            f"{run.label} does not reuse subspaces from step to step, so there is no drift. Choose "
            "a run of ASI to see it."
        )
    return (
        "Measured: the largest angle between the subspaces of a step and of the previous step. The "
        "smaller the angle, the better the warm start; 0° is a factor that was kept, as an update "
        "when needed does. The batch mode is left out: every batch has "
        "other images, so its subspace always turns. Modes at full rank have no drift."
    )
