"""How methods look, everywhere the same: colour-blind-safe colours, and a dash and a marker each,
so that a figure reads in grey too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

HEAD_ALONE = "head"

# What figures are to those who only show them: who draws is known here alone.
Figure = go.Figure
# The same as plain values that JSON knows, under `data` and `layout`: plotly does not check each of
# them, which takes most of a figure's time. For pictures that follow a slider.
Drawing = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MethodStyle:
    """Colour (hex), plotly dash and plotly marker of a method."""

    color: str
    dash: str
    symbol: str


# Okabe & Ito's palette (2008) and a neutral grey for the baseline.
STYLES: dict[str, MethodStyle] = {
    HEAD_ALONE: MethodStyle("#9A9A9A", "dot", "x"),
    "vanilla": MethodStyle("#4D4D4D", "solid", "circle"),
    "asi": MethodStyle("#0072B2", "solid", "diamond"),
    "hosvd": MethodStyle("#D55E00", "dash", "square"),
    "gradient_filter": MethodStyle("#009E73", "dashdot", "triangle-up"),
    "eight_bit": MethodStyle("#CC79A7", "longdash", "pentagon"),
    "checkpointing": MethodStyle("#A67B00", "longdashdot", "star"),
}

# What is faint on a dark page, and what takes its place there.
DARK_COLORS: dict[str, str] = {"#4D4D4D": "#B8BEC5"}


def styled(figure: go.Figure, *, title: str, x: str, y: str, log_y: bool = False) -> go.Figure:
    """Give a figure the common frame: title, axis titles with units, legend below, no clutter."""
    figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left", "font": {"size": 16}},
        margin={"l": 8, "r": 8, "t": 44, "b": 8},
        height=340,
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.22, "x": 0},
        uirevision="keep",
    )
    figure.update_xaxes(title_text=x, automargin=True, zeroline=False)
    figure.update_yaxes(title_text=y, automargin=True, zeroline=False)
    if log_y:
        figure.update_yaxes(type="log", dtick=1, exponentformat="none", separatethousands=True)
    return figure
