"""Figures of a plan: bytes kept by each layer, and the error under smaller budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, log_axis, styled, unit_title
from asi_core.methods import ASI, REFERENCE_KIND, Vanilla
from asi_core.units import KIB, format_bytes, less_or_more, three_digits

_BAR_PIXELS, _FRAME_PIXELS = 20, 130
_ASI = STYLES[ASI.class_kind()]
_PLANNED, _UNIFORM = "ASI, planned", "ASI, same variance"
_LIGHT, _MARK = "#56B4E9", "#D55E00"


@dataclass(frozen=True, slots=True)
class KeptRow:
    """Bytes that one layer keeps of its input; `uniform` is None if no such plan fits."""

    name: str
    vanilla: int
    planned: int
    uniform: int | None


@dataclass(frozen=True, slots=True)
class ErrorPoint:
    """Bytes and error of a choice of ranks; `label` is shown on hover."""

    kept_bytes: int
    gradient_error: float
    label: str


def plot_kept(rows: Sequence[KeptRow], *, log: bool = False) -> go.Figure:
    """Bytes that each layer keeps: in full, as planned, and at one explained variance for all."""
    figure = go.Figure()
    plain = [row.vanilla for row in rows]
    kinds = [(Vanilla.label.lower(), plain, STYLES[REFERENCE_KIND].color, "")]
    if all(row.uniform is not None for row in rows):
        kinds.append((_UNIFORM, [row.uniform or 0 for row in rows], _LIGHT, "/"))
    kinds.append((_PLANNED, [row.planned for row in rows], _ASI.color, ""))
    for name, values, color, pattern in kinds:
        figure.add_trace(
            go.Bar(
                y=[row.name for row in rows],
                x=[value / KIB for value in values],
                name=name,
                orientation="h",
                marker={"color": color, "pattern": {"shape": pattern, "fgcolor": _ASI.color}},
                customdata=[
                    _against(value, row.vanilla) for value, row in zip(values, rows, strict=True)
                ],
                hovertemplate="%{customdata}",
            )
        )
    styled(figure, title="Kept by each layer (formula)", x=unit_title("KiB", log=log), y="")
    if log:
        drawn = [value / KIB for _, values, *_ in kinds for value in values]
        # Bars have no natural base on a log axis: keep the shortest visible.
        log_axis(figure, "x").update_xaxes(range=[log10(min(drawn)) - 0.3, log10(max(drawn)) + 0.1])
    figure.update_yaxes(autorange="reversed", type="category")
    height = _FRAME_PIXELS + _BAR_PIXELS * len(kinds) * len(rows)
    legend = {"traceorder": "normal", "y": -90 / (height - _FRAME_PIXELS + 60)}
    return figure.update_layout(
        height=height,
        barmode="group",
        bargap=0.25,
        hovermode="closest",
        legend=legend,
        uirevision=f"kept {log}",
    )


def plot_error_curve(
    planned: Sequence[ErrorPoint],
    uniform: Sequence[ErrorPoint],
    budget_bytes: int,
    chosen: ErrorPoint | None,
) -> go.Figure:
    """The gradient error of the best ranks under each budget, and without planning.

    Args:
        planned: the best plans, by ascending bytes.
        uniform: one explained variance for all layers, by ascending bytes.
        budget_bytes: marked by a line.
        chosen: the plan under that budget; None if nothing fits.
    """
    figure = go.Figure()
    figure.add_trace(_curve(_PLANNED, planned, _ASI.dash, _ASI.symbol, _ASI.color))
    figure.add_trace(_curve(_UNIFORM, uniform, "dot", "diamond-open", _LIGHT))
    if chosen is not None:
        mark = _curve("this budget", [chosen], "solid", "circle", _MARK)
        figure.add_trace(mark.update(mode="markers", marker={"size": 13}))
    figure.add_vline(
        x=budget_bytes / KIB,
        line={"color": _MARK, "dash": "dash", "width": 1.5},
    )
    styled(
        figure,
        title="Gradient error by budget (measured)",
        x="inputs kept, KiB, log scale",
        y="gradient error",
    )
    log_axis(figure, "x")
    figure.update_yaxes(rangemode="tozero")
    return figure.update_layout(hovermode="closest", legend={"y": -0.3})


def _curve(
    name: str, points: Sequence[ErrorPoint], dash: str, symbol: str, color: str
) -> go.Scatter:
    return go.Scatter(
        x=[point.kept_bytes / KIB for point in points],
        y=[point.gradient_error for point in points],
        name=name,
        mode="lines+markers",
        line={"color": color, "dash": dash, "width": 2.5},
        marker={"symbol": symbol, "size": 7},
        customdata=[
            f"{point.label}<br>keeps {format_bytes(point.kept_bytes)}, "
            f"gradient error {three_digits(point.gradient_error)}"
            for point in points
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _against(kept: int, vanilla: int) -> str:
    if kept == vanilla:
        return f"{format_bytes(kept)}, kept in full"
    return f"{format_bytes(kept)}, {less_or_more(kept, vanilla)} than vanilla"
