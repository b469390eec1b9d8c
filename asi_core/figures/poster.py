"""Figures of the poster's table: printed numbers against computed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, styled
from asi_core.units import than_vanilla, three_digits

_RING = 4  # extra size in pixels of a point that is close but not exact


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """One number of the table.

    Attributes:
        label: shown on hover.
        method: its name in the legend.
        style: key into `STYLES`.
        exact: whether both agree to the printed digits.
        vanilla: the printed number of vanilla at the same layers; None if none is printed.
    """

    label: str
    method: str
    style: str
    printed: float
    computed: float
    exact: bool
    vanilla: float | None


def plot_printed_against_computed(
    rows: Sequence[PrintedRow], *, title: str, unit: str
) -> go.Figure:
    """Each number as a point: on the diagonal, both are equal. Both axes are logarithmic.

    Filled points agree to the printed digits, open ones do not.
    """
    figure = go.Figure()
    if rows:
        ends = [f(v for r in rows for v in (r.printed, r.computed)) for f in (min, max)]
        diagonal = [ends[0] / 2, ends[1] * 2]
        figure.add_trace(
            go.Scatter(
                x=diagonal,
                y=diagonal,
                name="as printed",
                mode="lines",
                line={"color": "#9A9A9A", "dash": "dot", "width": 1.5},
                hoverinfo="skip",
            )
        )
    for method in dict.fromkeys(row.method for row in rows):
        figure.add_trace(_points([row for row in rows if row.method == method], unit))
    styled(figure, title=title, x=f"printed, {unit}, log scale", y=f"computed, {unit}", log_y=True)
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", separatethousands=True)
    return figure.update_layout(hovermode="closest", legend={"y": -0.3})


def _points(rows: Sequence[PrintedRow], unit: str) -> go.Scatter:
    style = STYLES[rows[0].style]
    return go.Scatter(
        x=[row.printed for row in rows],
        y=[row.computed for row in rows],
        name=rows[0].method,
        mode="markers",
        marker={
            "color": style.color,
            "symbol": [style.symbol if row.exact else f"{style.symbol}-open" for row in rows],
            "size": [9 if row.exact else 9 + _RING for row in rows],
            "line": {"width": 2, "color": style.color},
        },
        customdata=[_message(row, unit) for row in rows],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _message(row: PrintedRow, unit: str) -> str:
    lines = [
        row.label,
        f"printed {three_digits(row.printed)} {unit}, computed {three_digits(row.computed)} {unit}",
    ]
    if row.vanilla is not None:
        lines.append(f"{than_vanilla(row.printed, row.vanilla)}, as printed")
    return "<br>".join(lines)
