"""The style of methods in all figures: colour-blind-safe colours, and a dash and a marker each, so
that figures are readable in grey too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

import plotly.graph_objects as go

from asi_core.methods import METHODS, MethodStyle
from asi_core.records import HEAD_KIND

_HEAD = MethodStyle("#9A9A9A", "dot", "x")

# The type of figures for modules that only display them, without importing Plotly.
Figure = go.Figure
# A figure as JSON values with `data` and `layout`: Plotly does not validate them, which takes most
# of a figure's time. For figures that follow a slider.
Drawing = dict[str, Any]


# Methods have Okabe & Ito's palette (2008) and a neutral grey for the baseline. A method without a
# style gets one of these, chosen by its name, so that it is the same in all processes.
_PALETTE = (
    MethodStyle("#56B4E9", "dash", "hexagon"),
    MethodStyle("#8C6BB1", "dashdot", "triangle-down"),
    MethodStyle("#B2182B", "longdash", "cross"),
    MethodStyle("#4D9221", "dot", "bowtie"),
    MethodStyle("#C77700", "longdashdot", "hourglass"),
    MethodStyle("#1B7A8C", "solid", "star-diamond"),
)


class _Styles(Mapping[str, MethodStyle]):
    """The style of each method, by its kind, and of the linear probe."""

    def __getitem__(self, name: str) -> MethodStyle:
        if name == HEAD_KIND:
            return _HEAD
        return METHODS[name].style or _PALETTE[crc32(name.encode()) % len(_PALETTE)]

    def __iter__(self) -> Iterator[str]:
        return iter((HEAD_KIND, *METHODS))

    def __len__(self) -> int:
        return 1 + len(METHODS)


STYLES: Mapping[str, MethodStyle] = _Styles()

# Layers that are not trained: present, and not what is looked at.
FROZEN = "#C3C9CF"

# Colours that are too faint, or too bright, on a dark page, and their replacements.
DARK_COLORS: dict[str, str] = {FROZEN: "#59626C", "#4D4D4D": "#B8BEC5"}


def log_axis(figure: go.Figure, axis: str, *, dtick: float | str | None = 1) -> go.Figure:
    """Make `axis` ("x" or "y") logarithmic, with full numbers as labels."""
    update = figure.update_xaxes if axis == "x" else figure.update_yaxes
    update(type="log", dtick=dtick, exponentformat="none", separatethousands=True)
    return figure


def unit_title(unit: str, *, log: bool) -> str:
    """The title of an axis that may be logarithmic."""
    return f"{unit}, log scale" if log else unit


# Below this width a figure is narrow; in pixels where text has its usual size.
NARROW = 610


def in_narrow(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The `meta` of a trace with other values in a narrow figure; figure.js applies them.

    Example:
        >>> in_narrow({"text": ["", "rank 4"]})
        {'narrow': {'below': 610, 'changes': {'text': ['', 'rank 4']}}}
    """
    return {"narrow": {"below": NARROW, "changes": dict(changes)}}


def styled(figure: go.Figure, *, title: str, x: str, y: str, log_y: bool = False) -> go.Figure:
    """Apply the common layout: title, axis titles with units, legend below, no clutter."""
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
        log_axis(figure, "y")
    return figure
