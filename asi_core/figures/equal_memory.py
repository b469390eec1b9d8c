"""Accuracy over the memory or the time of a step: a curve for each method, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, Figure, styled
from asi_core.units import THIN_SPACE, three_digits


@dataclass(frozen=True, slots=True)
class PricedPoint:
    """One setting of a method.

    Attributes:
        accuracy, low, high: mean and ends of its interval, 0 to 1; no ends if they are not known.
        price: in the axis's base unit.
    """

    label: str
    accuracy: float
    price: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class PricedCurve:
    """A method's points, cheapest first; `style` is a key into `STYLES`."""

    label: str
    style: str
    points: tuple[PricedPoint, ...]


def plot_over_price(
    curves: Sequence[PricedCurve], *, title: str, price: str, unit: str, scale: float = 1
) -> Figure:
    """Test accuracy against a price on a log scale, one line per method.

    Args:
        price: title of the x axis, `unit` its unit and `scale` that unit in base units.
    """
    figure = go.Figure([_line(curve, unit, scale) for curve in curves])
    styled(figure, title=title, x=f"{price}, {unit}, log scale", y="test accuracy (measured), %")
    figure.update_xaxes(type="log", exponentformat="none", separatethousands=True, dtick=1)
    return figure.update_layout(hovermode="closest", height=480, legend={"y": -0.25})


def _line(curve: PricedCurve, unit: str, scale: float) -> go.Scatter:
    style = STYLES[curve.style]
    above = [0.0 if p.high is None else 100 * (p.high - p.accuracy) for p in curve.points]
    below = [0.0 if p.low is None else 100 * (p.accuracy - p.low) for p in curve.points]
    return go.Scatter(
        x=[point.price / scale for point in curve.points],
        y=[100 * point.accuracy for point in curve.points],
        error_y={"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 3},
        name=curve.label,
        uid=curve.label,
        mode="lines+markers",
        line={"color": style.color, "width": 2, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 9, "color": style.color},
        hovertext=[_message(point, unit, scale) for point in curve.points],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _message(point: PricedPoint, unit: str, scale: float) -> str:
    parts = [f"<b>{point.label}</b>", f"{100 * point.accuracy:.1f}{THIN_SPACE}%"]
    if point.low is not None and point.high is not None:
        parts.append(f"95 % interval {100 * point.low:.1f} to {100 * point.high:.1f}")
    return "<br>".join((*parts, f"{three_digits(point.price / scale)} {unit}"))
