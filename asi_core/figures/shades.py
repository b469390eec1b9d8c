"""Shades that distinguish several runs of one method within its colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from asi_core.figures.style import STYLES

# Blend towards a grey between light and dark pages, run by run.
_STEPS = (0.0, 0.38, 0.62, 0.2, 0.5)
_MIDDLE = 0xB4
# Height in pixels of a legend entry in a narrow window.
_LEGEND_LINE, _MOST_ENTRIES = 19, 10
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash")


def shaded(figure: go.Figure, styles: Sequence[str], groups: Sequence[str]) -> go.Figure:
    """Give groups of traces of the same style different shades of its colour, dashes and markers.

    Traces of one group have the same style and one legend entry; the legend grows with the groups,
    and is left out if there are more than ten.

    Args:
        styles: keys into `STYLES`, one per trace.
        groups: names, one per trace; those of one group have the same style.
    """
    nth_of_style: Counter[str] = Counter()
    numbers: dict[str, int] = {}
    for trace, style, group in zip(figure.data, styles, groups, strict=True):
        trace.showlegend = group not in numbers
        if group not in numbers:
            numbers[group] = nth_of_style[style]
            nth_of_style[style] += 1
        trace.name = trace.legendgroup = group
        _shade(trace, style, numbers[group])
    lines = len(numbers) if len(numbers) <= _MOST_ENTRIES else 0
    return figure.update_layout(
        height=figure.layout.height + _LEGEND_LINE * lines,
        showlegend=bool(lines),
        # With many curves, the hover of all of them would cover the figure.
        hovermode="x unified" if lines else "closest",
    )


def _shade(trace: go.Scatter, style: str, nth: int) -> None:
    if nth == 0:
        return
    base = STYLES[style]
    others = [dash for dash in _DASHES if dash != base.dash]
    trace.line.color = trace.marker.color = _towards_middle(base.color, _STEPS[nth % len(_STEPS)])
    trace.line.dash = others[(nth - 1) % len(others)]
    trace.marker.symbol = f"{base.symbol}-open" if nth % 2 else base.symbol


def _towards_middle(color: str, share: float) -> str:
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    mixed = (round(channel + share * (_MIDDLE - channel)) for channel in channels)
    return "#" + "".join(f"{channel:02X}" for channel in mixed)
