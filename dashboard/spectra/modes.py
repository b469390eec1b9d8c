"""The singular values of the chosen input, mode by mode, and the style of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.figures import spectra
from asi_core.figures.spectra import Axes, SpectrumRows
from dashboard.frame import URL, figure, short_percent
from dashboard.spectra.choice import Subject
from dashboard.spectra.probes import cuts
from dashboard.spectra.words import mode_names

_ENERGY, _VALUES = "Explained energy", "Singular values"
_LOG, _LINEAR = "Log", "Linear"
_SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class PlotStyle:
    """How spectra are drawn; `share` is the marked share of the energy, 0 to 1."""

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
        help="The cumulative energy of the largest singular values, or the values themselves.",
        **URL,
    )
    axes = middle.segmented_control(
        "Axes",
        [_LOG, _LINEAR],
        default=_LOG,
        required=True,
        key="axes",
        help="Logarithmic axes show the few large values; linear axes the many small ones.",
        **URL,
    )
    held = right.slider(
        "Energy to keep, %",
        50,
        99,
        value=80,
        key="share",
        help="The dotted line: how many values are needed to keep this share of the energy?",
        **URL,
    )
    return PlotStyle(shown == _ENERGY, "log" if axes == _LOG else "linear", held / 100)


def show_first_modes(subject: Subject, style: PlotStyle) -> None:
    """The figures of the first modes, side by side."""
    _show(subject, style, range(min(_SIDE_BY_SIDE, len(subject.probe.singular_values))))


def show_other_modes(subject: Subject, style: PlotStyle) -> None:
    """The figures of all other modes, and what they are."""
    _show(subject, style, range(_SIDE_BY_SIDE, len(subject.probe.singular_values)))
    st.caption(
        f"Measured on the input of `{subject.layer}` in {subject.chosen.label} at step "
        f"{subject.step}. A mode is one dimension of that input; its singular values are those of "
        "the input unfolded along it, at most as many as the shorter side of that matrix. Marked "
        "lines: the rank at which each method truncates the mode."
    )


def _show(subject: Subject, style: PlotStyle, modes: Sequence[int]) -> None:
    """One figure per mode, two in a row if there is room."""
    probe = subject.probe
    names = mode_names(subject.chosen, probe)
    needed = ranks_of_spectra(probe.singular_values, style.share)
    rows = range(0, len(modes), _SIDE_BY_SIDE)
    columns = [column for _ in rows for column in st.columns(_SIDE_BY_SIDE)]
    for mode, column in zip(modes, columns, strict=False):
        caption = (
            f"{names[mode].capitalize()}: {needed[mode]} of {len(probe.singular_values[mode])} "
            f"directions hold {short_percent(style.share)} of the energy."
        )
        with column:
            _draw(subject, mode, style, caption)


def _draw(subject: Subject, mode: int, style: PlotStyle, caption: str) -> None:
    probe = subject.probe
    names = mode_names(subject.chosen, probe)
    spectrum = SpectrumRows(probe.shape, probe.singular_values, names)
    marks = cuts(subject.peers, subject.step, subject.layer)
    if style.energy:
        plot = spectra.plot_explained_energy(spectrum, mode, marks, style.axes, style.share)
    else:
        plot = spectra.plot_singular_values(spectrum, mode, marks, style.axes)
    figure(plot, key=f"spectrum-{mode}", caption=caption)
