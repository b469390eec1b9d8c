"""A guess compared with the true value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from asi_core.figures.style import log_axis, styled, unit_title
from asi_core.units import THIN_SPACE, format_bytes, three_digits

GUESS, TRUTH = "#AA4499", "#009988"
# Labels of a log axis of ranks, few enough for a phone.
RANK_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def plot_guess(
    guess: float, truth: float, *, title: str, unit: str, span: tuple[float, float]
) -> go.Figure:
    """Both on an axis over `span`, extended if the true value lies outside."""
    figure = go.Figure()
    low, high = min(span[0], truth), max(span[1], truth)
    figure.add_trace(
        go.Scatter(
            x=[guess, truth],
            y=[0, 0],
            mode="lines",
            line={"color": "#8C8C8C", "width": 3},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for name, value, color, symbol, place in (
        ("your guess", guess, GUESS, "circle-open", "bottom center"),
        ("the truth", truth, TRUTH, "diamond", "top center"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[value],
                y=[0],
                mode="markers+text",
                marker={
                    "color": color,
                    "symbol": symbol,
                    "size": 17,
                    "line": {"width": 3, "color": color},
                },
                text=[f"{three_digits(value)}{THIN_SPACE}{unit}"],
                textposition=place,
                textfont={"size": 15},
                cliponaxis=False,
                name=name,
                hovertemplate="%{text}",
            )
        )
    margin = 0.08 * (high - low)
    styled(figure, title=title, x=unit, y="")
    figure.update_layout(height=240, hovermode="closest", legend={"y": -0.5})
    figure.update_xaxes(range=[low - margin, high + margin])
    return figure.update_yaxes(visible=False, range=[-1, 1])


def plot_guessed_ratio(
    guess: float, truth: float, base: float, *, base_name: str, log: bool = False
) -> go.Figure:
    """A guessed and a true multiple of a known number of bytes, as bars."""
    rows = [
        (base_name, base, "#8C8C8C", ""),
        ("your guess", guess * base, GUESS, "/"),
        ("the truth", truth * base, TRUTH, ""),
    ]
    figure = go.Figure()
    for name, value, color, pattern in reversed(rows):
        figure.add_trace(
            go.Bar(
                x=[value / 2**20],
                y=[name],
                orientation="h",
                name=name,
                marker={"color": color, "pattern": {"shape": pattern}},
                text=[f"{format_bytes(value)}, {three_digits(value / base)}{THIN_SPACE}×"],
                textposition="auto",
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    title = "Your guess and the truth"
    styled(figure, title=title, x=unit_title("MiB", log=log), y="")
    figure.update_layout(hovermode="closest", height=260, uirevision=f"guess {log}")
    return log_axis(figure, "x", dtick=None) if log else figure


def plot_guessed_rank(
    values: Sequence[float], guess: float, truth: float, share: float
) -> go.Figure:
    """Energy explained by the first r singular values, with the guessed and the true cut.

    Args:
        values: singular values, descending.
        share: of the energy that the ranks must explain, 0 to 1.
    """
    energy = np.cumsum(np.square(values))
    explained = (100 * energy / energy[-1]).tolist()
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=explained,
            mode="lines",
            line={"color": "#8C8C8C", "width": 2.5},
            name="energy explained",
            hovertemplate="rank %{x}: %{y:.1f} %",
        )
    )
    for name, rank, color, symbol in (
        ("your guess", guess, GUESS, "circle-open"),
        ("the truth", truth, TRUTH, "diamond"),
    ):
        reached = explained[round(rank) - 1]
        figure.add_trace(
            go.Scatter(
                x=[rank, rank],
                y=[0, reached],
                mode="lines+markers",
                line={"color": color, "width": 3},
                marker={"symbol": symbol, "size": [0, 14], "line": {"width": 3, "color": color}},
                name=f"{name}: {three_digits(rank)}",
                hovertemplate=f"{reached:.1f} %",
            )
        )
    figure.add_hline(y=100 * share, line={"color": "#8C8C8C", "dash": "dot", "width": 1.5})
    styled(figure, title="Your guess and the truth", x="rank, log scale", y="energy explained, %")
    figure.update_layout(hovermode="closest")
    return figure.update_xaxes(type="log", tickvals=RANK_TICKS).update_yaxes(range=[0, 104])
