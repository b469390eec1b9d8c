"""Horizontal bars that compare methods by a total: one row each, with its number in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, Drawing, log_axis, styled, unit_title

_ROW_PIXELS, _FRAME_PIXELS, _LEGEND_PIXELS, _LEAST_PIXELS = 22, 96, 40, 250
_NEUTRAL = "#7A8188"


@dataclass(frozen=True, slots=True)
class TotalRow:
    """One method, and the parts that its total is the sum of.

    Attributes:
        style: key into `STYLES`.
        text: the total in words, shown beside the method's name.
        parts: values in the axis's unit, in the order in which they are stacked.
        hovers: a text for each part.
        hover: a text for the total.
    """

    label: str
    style: str
    text: str
    parts: Sequence[float]
    hovers: Sequence[str]
    hover: str

    @property
    def total(self) -> float:
        return sum(self.parts)


def draw_totals(
    rows: Sequence[TotalRow],
    *,
    title: str,
    unit: str,
    log: bool,
    patterns: Mapping[str, Mapping[str, Any]] | None = None,
) -> Drawing:
    """A bar per row, the first on top: stacked from its parts on a linear axis. On a log axis a
    stack has no meaning, so there each bar is whole.

    Args:
        patterns: part name -> plotly's pattern, if the parts have names; they are in the legend.
    """
    if log:
        traces = [_trace(rows, [row.total for row in rows], None, [row.hover for row in rows])]
    else:
        traces = _stack(rows, list((patterns or {}).values()))
        traces += [_key(name, pattern) for name, pattern in (patterns or {}).items()]
    frame = _frame(title, unit_title(unit, log=log), log)
    height = _FRAME_PIXELS + _ROW_PIXELS * len(rows) + (_LEGEND_PIXELS if patterns else 0)
    layout = {
        **frame,
        "height": max(_LEAST_PIXELS, height),
        "showlegend": bool(patterns) and not log,
        # Below the whole figure: the space below the bars is narrow.
        "legend": {"orientation": "h", "xref": "container", "yref": "container", "x": 0, "y": 0},
        "yaxis": {
            **frame["yaxis"],
            "tickvals": list(range(len(rows))),
            "ticktext": [f"<b>{row.label}</b>  {row.text}" for row in rows],
            "range": [len(rows) - 0.5, -0.5],
        },
        # A zoom into other bars or another scale would not fit these.
        "uirevision": f"{unit} {log} {len(rows)}",
    }
    return {"data": traces, "layout": layout}


def _stack(rows: Sequence[TotalRow], patterns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    traces, below = [], [0.0] * len(rows)
    for nth in range(max((len(row.parts) for row in rows), default=0)):
        values = [row.parts[nth] for row in rows]
        hovers = [row.hovers[nth] for row in rows]
        trace = _trace(rows, values, list(below), hovers)
        if patterns:
            trace["marker"]["pattern"] = patterns[nth]
        traces.append(trace)
        below = [low + value for low, value in zip(below, values, strict=True)]
    return traces


def _trace(
    rows: Sequence[TotalRow],
    values: Sequence[float],
    base: Sequence[float] | None,
    hovers: Sequence[str],
) -> dict[str, Any]:
    colors = [STYLES[row.style].color for row in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "x": list(values),
        "y": list(range(len(rows))),
        "base": base,
        "width": 0.72,
        "showlegend": False,
        "marker": {"color": colors, "line": {"width": 0}},
        "customdata": list(hovers),
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _key(name: str, pattern: Mapping[str, Any]) -> dict[str, Any]:
    """A legend entry for a part, independent of the method."""
    marker = {"color": _NEUTRAL, "pattern": dict(pattern)}
    return {"type": "bar", "x": [None], "y": [None], "name": name, "marker": marker}


@lru_cache(maxsize=64)
def _frame(title: str, x: str, log: bool) -> dict[str, Any]:
    """The layout that does not depend on the numbers."""
    figure = styled(go.Figure(), title=title, x=x, y="")
    figure.update_layout(hovermode="closest", barmode="overlay", bargap=0)
    figure.update_xaxes(rangemode="tozero", separatethousands=True, nticks=6)
    figure.update_yaxes(tickangle=0, showgrid=False)
    if log:
        # Few bars span ten times: their axis has other labels than powers of ten, too.
        log_axis(figure, "x", dtick="D2")
    frame: dict[str, Any] = figure.to_plotly_json()["layout"]
    return frame
