"""The singular values of the chosen input, mode by mode, and how to look at them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.figures import spectra
from asi_core.figures.spectra import Axes, SpectrumRows
from dashboard.frame import URL, figure
from dashboard.spectra.choice import Subject
from dashboard.spectra.probes import cuts
from dashboard.spectra.words import mode_names, percent

_ENERGY, _VALUES = "Explained energy", "Singular values"
_LOG, _LINEAR = "Log", "Linear"


@dataclass(frozen=True, slots=True)
class PlotStyle:
    """How spectra are drawn.

    Attributes:
        share: of the energy, 0 to 1, that is asked about.
    """

    energy: bool
    axes: Axes
    share: float


def choose_style() -> PlotStyle:
    """Draw the controls."""
    left, middle, right = st.columns(3)
    shown = left.segmented_control(
        "Show",
        [_ENERGY, _VALUES],
        default=_ENERGY,
        required=True,
        key="show",
        help="The energy that the first values explain together, or the values themselves.",
        **URL,
    )
    axes = middle.segmented_control(
        "Axes",
        [_LOG, _LINEAR],
        default=_LOG,
        required=True,
        key="axes",
        help="Logarithmic axes show the few that matter; linear ones how many do not.",
        **URL,
    )
    held = right.slider(
        "Energy to hold, %",
        50,
        99,
        value=80,
        key="share",
        help="How many values does it take to hold this share of the energy? The dotted line.",
        **URL,
    )
    return PlotStyle(shown == _ENERGY, "log" if axes == _LOG else "linear", held / 100)


def show_modes(subject: Subject, style: PlotStyle) -> None:
    """One figure a mode, two in a row where there is room."""
    st.subheader("How fast the singular values fall, mode by mode", divider="gray")
    names, probe = mode_names(subject.chosen), subject.probe
    needed = ranks_of_spectra(probe.singular_values, style.share)
    columns = [column for _ in range(0, len(names), 2) for column in st.columns(2)]
    for mode, (column, name) in enumerate(zip(columns, names, strict=False)):
        caption = (
            f"{name.capitalize()}: {needed[mode]} of {len(probe.singular_values[mode])} directions "
            f"hold {percent(style.share)} of the energy."
        )
        with column:
            _draw(subject, mode, style, caption)
    st.caption(
        f"All measured, on the input of `{subject.layer}` that {subject.chosen.label} met at step "
        f"{subject.step}. A mode is one dimension of that input; its singular values are those of "
        "the input unfolded along it, a matrix with no more directions than its shorter side is "
        "long. Marked lines: the rank at which each method cuts that mode."
    )


def _draw(subject: Subject, mode: int, style: PlotStyle, caption: str) -> None:
    probe = subject.probe
    spectrum = SpectrumRows(probe.shape, probe.singular_values, mode_names(subject.chosen))
    marks = cuts(subject.peers, subject.step, subject.layer)
    if style.energy:
        plot = spectra.plot_explained_energy(spectrum, mode, marks, style.axes, style.share)
    else:
        plot = spectra.plot_singular_values(spectrum, mode, marks, style.axes)
    figure(plot, key=f"spectrum-{mode}", caption=caption)
