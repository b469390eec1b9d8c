"""Trade-offs: what a budget allows, and how the rank changes memory and work."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import plotly.graph_objects as go

from asi_core.figures.equal_memory import PricedCurve, PricedPoint
from asi_core.figures.style import STYLES, log_axis, styled, unit_title
from asi_core.methods import REFERENCE_KIND
from asi_core.records import HEAD_KIND
from asi_core.units import MIB, THIN_SPACE, format_bytes, three_digits

_CHOSEN = "#AA4499"


def plot_depths(
    curves: Sequence[PricedCurve],
    floor: float,
    mark_bytes: float,
    mark: str,
    *,
    chosen: PricedPoint | None = None,
    memory: str,
    log: bool = False,
) -> go.Figure:
    """Accuracy over the memory of ever more trained layers: a line for each method.

    Args:
        curves: methods; the texts at the points are their labels.
        floor: accuracy of the linear probe, 0 to 1.
        mark_bytes: where a vertical line is, and `mark` its text.
        chosen: a point that is circled; one without bytes is not on a log axis.
        memory: title of the axis.
    """
    figure = go.Figure([_depths(curve) for curve in curves])
    head = STYLES[HEAD_KIND]
    figure.add_hline(
        y=100 * floor,
        line={"color": head.color, "dash": head.dash, "width": 2},
        annotation={
            "text": f"linear probe: {three_digits(100 * floor)}{THIN_SPACE}%",
            "font": {"color": head.color},
        },
        annotation_position="bottom right",
    )
    figure.add_vline(x=mark_bytes / MIB, line={"color": _CHOSEN, "dash": "dash", "width": 2})
    figure.add_annotation(
        # Annotations on a log axis are placed by the exponent.
        x=log10(mark_bytes / MIB) if log else mark_bytes / MIB,
        y=1,
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        text=mark,
        font={"color": _CHOSEN, "size": 13},
    )
    if chosen is not None:
        figure.add_trace(_circle(chosen))
    x = unit_title(f"{memory}, MiB", log=log)
    styled(figure, title="Accuracy by trained layers", x=x, y="test accuracy (measured), %")
    figure.update_layout(hovermode="closest", margin={"t": 64}, uirevision=f"depths {memory} {log}")
    return log_axis(figure, "x") if log else figure.update_xaxes(rangemode="tozero")


def _depths(curve: PricedCurve) -> go.Scatter:
    style = STYLES[curve.style]
    return go.Scatter(
        x=[point.price / MIB for point in curve.points],
        y=[100 * point.accuracy for point in curve.points],
        name=curve.label,
        uid=curve.label,
        mode="lines+markers",
        line={"color": style.color, "width": 2, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 9, "color": style.color},
        hovertext=[_described(point) for point in curve.points],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _described(point: PricedPoint) -> str:
    accuracy = f"{100 * point.accuracy:.1f}{THIN_SPACE}%"
    return f"<b>{point.label}</b><br>{accuracy}<br>{format_bytes(point.price)}"


def _circle(point: PricedPoint) -> go.Scatter:
    ring = {"symbol": "circle-open", "size": 26, "color": _CHOSEN, "line": {"width": 3}}
    return go.Scatter(
        x=[point.price / MIB],
        y=[100 * point.accuracy],
        mode="markers",
        marker=ring,
        name="the best that fits",
        hoverinfo="skip",
    )


def plot_rank_ratios(
    ranks: Sequence[int], ratios: Sequence[tuple[str, str, Sequence[float]]], chosen: int
) -> go.Figure:
    """Ratios to vanilla over one rank for all modes (both axes log).

    Args:
        ratios: label, key into `STYLES`, and one ratio per rank.
    """
    dashes = ("solid", "dash", "dot")
    figure = go.Figure()
    for (label, style, values), dash in zip(ratios, dashes, strict=False):
        figure.add_trace(
            go.Scatter(
                x=list(ranks),
                y=list(values),
                mode="lines",
                name=label,
                line={"color": STYLES[style].color, "dash": dash, "width": 3},
                customdata=[three_digits(value) for value in values],
                hovertemplate=f"%{{customdata}}{THIN_SPACE}× vanilla",
            )
        )
    figure.add_hline(y=1, line={"color": STYLES[REFERENCE_KIND].color, "width": 1.5})
    figure.add_vline(x=chosen, line={"color": _CHOSEN, "dash": "dash", "width": 2})
    styled(
        figure,
        title="Ratio to vanilla by rank (formula)",
        x="rank of every mode, log scale",
        y="ratio to vanilla, log scale",
        log_y=True,
    )
    return figure.update_xaxes(type="log", tickvals=list(ranks), ticktext=list(map(str, ranks)))
