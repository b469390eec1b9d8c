"""What low rank means: the energy in a few directions, and a picture at a lower rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asi_core.figures.lessons.guess import RANK_TICKS
from asi_core.figures.style import styled

# One style per mode, none of them a method's.
_MODES = (
    ("#997700", "dash", "square"),
    ("#6699CC", "solid", "circle"),
    ("#994455", "dot", "triangle-up"),
    ("#AA6688", "dashdot", "diamond"),
)


@dataclass(frozen=True, slots=True)
class ModeCut:
    """One mode: its name, size and singular values (descending), and the rank kept of it."""

    name: str
    size: int
    values: Sequence[float]
    rank: int


def plot_mode_energy(modes: Sequence[ModeCut], share: float) -> go.Figure:
    """Energy explained by the first r singular values of each mode, with the cut at `share`
    (0 to 1)."""
    figure = go.Figure()
    for mode, (color, dash, symbol) in zip(modes, _MODES, strict=False):
        energy = np.cumsum(np.square(mode.values))
        explained = (100 * energy / energy[-1]).tolist()
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(explained) + 1)),
                y=explained,
                mode="lines",
                line={"color": color, "dash": dash, "width": 2.5},
                name=f"{mode.name}: {mode.rank} of {mode.size}",
                uid=mode.name,
                legendgroup=mode.name,
                hovertemplate=f"{mode.name}, rank %{{x}}: %{{y:.1f}} %<extra></extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[mode.rank],
                y=[explained[min(mode.rank, len(explained)) - 1]],
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": 13},
                uid=f"{mode.name}-cut",
                legendgroup=mode.name,
                showlegend=False,
                hovertemplate=f"{mode.name}: cut at {mode.rank}<extra></extra>",
            )
        )
    figure.add_hline(y=100 * share, line={"color": "#8C8C8C", "dash": "dot", "width": 1.5})
    styled(figure, title="Where the ranks come from", x="rank, log scale", y="energy explained, %")
    figure.update_layout(hovermode="closest")
    return figure.update_xaxes(type="log", tickvals=RANK_TICKS).update_yaxes(range=[0, 104])


def plot_picture(
    picture: Sequence[Sequence[float]], close: Sequence[Sequence[float]], rank: int
) -> go.Figure:
    """A picture, grey levels from 0 to 255, next to its approximation at a lower rank."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["original", f"rank {rank}"], horizontal_spacing=0.04
    )
    for column, values in enumerate((picture, close), start=1):
        heatmap = go.Heatmap(
            z=values,
            zmin=0,
            zmax=255,
            colorscale="Greys_r",
            showscale=False,
            hovertemplate="row %{y}, column %{x}: %{z:.0f}<extra></extra>",
        )
        figure.add_trace(heatmap, row=1, col=column)
        axis = figure.layout[f"xaxis{column if column > 1 else ''}"].anchor
        figure.update_xaxes(visible=False, constrain="domain", row=1, col=column)
        figure.update_yaxes(
            visible=False, autorange="reversed", scaleanchor=axis.replace("y", "x"), col=column
        )
    return figure.update_layout(
        title={"text": "A picture is a matrix", "x": 0, "font": {"size": 16}},
        height=320,
        margin={"l": 8, "r": 8, "t": 74, "b": 8},
        uirevision="keep",
    )
