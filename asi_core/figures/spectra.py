"""Figures of a layer's singular values, mode by mode, with the cut of each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from asi_core.figures.style import STYLES

MODE_NAMES = ("batch", "channel", "height", "width")


@dataclass(frozen=True, slots=True)
class SpectrumRows:
    """Singular values of one layer's input, one descending list a mode."""

    shape: tuple[int, ...]
    singular_values: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Cut:
    """The ranks that a run had in force, one a mode; `style` is a key into `STYLES`."""

    label: str
    style: str
    ranks: Sequence[int]


def plot_spectra(spectrum: SpectrumRows, cuts: Sequence[Cut]) -> go.Figure:
    """Energy that the first r singular values explain, per mode, with where each method cuts.

    Args:
        cuts: where methods cut, one line each.
    """
    titles = [f"{MODE_NAMES[mode]} ({size})" for mode, size in enumerate(spectrum.shape)]
    figure = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, shared_yaxes=True)
    for mode, values in enumerate(spectrum.singular_values):
        energy = np.cumsum(np.square(values))
        explained = 100 * energy / energy[-1] if energy[-1] > 0 else np.full(len(energy), 100.0)
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(values) + 1)),
                y=explained.tolist(),
                mode="lines+markers" if len(values) < 12 else "lines",
                line={"color": "#56B4E9", "width": 2.5},
                hovertemplate="rank %{x}: %{y:.1f} %<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=mode + 1,
        )
        for cut in cuts:
            _mark_cut(figure, cut, explained, mode)
    figure.update_xaxes(type="log", title_text="rank")
    figure.update_yaxes(title_text="energy explained, %", col=1)
    return figure.update_layout(
        title={"text": "Spectra of the chosen layer's input (measured)", "x": 0},
        height=340,
        margin={"l": 8, "r": 8, "t": 70, "b": 8},
        legend={"orientation": "h", "y": -0.25, "x": 0},
        uirevision="keep",
    )


def _mark_cut(figure: go.Figure, cut: Cut, explained: NDArray[np.float64], mode: int) -> None:
    look, rank = STYLES[cut.style], cut.ranks[mode]
    reached = float(explained[min(rank, len(explained)) - 1])
    figure.add_trace(
        go.Scatter(
            x=[rank, rank],
            y=[0, reached],
            mode="lines+markers",
            name=f"cut by {cut.label}",
            legendgroup=cut.style,
            showlegend=mode == 0,
            line={"color": look.color, "dash": look.dash, "width": 2},
            marker={"symbol": look.symbol, "size": [0, 9]},
            hovertemplate=f"{cut.label}: rank {rank}, {reached:.1f} %<extra></extra>",
        ),
        row=1,
        col=mode + 1,
    )
