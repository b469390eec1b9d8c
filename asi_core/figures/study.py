"""Curves over the number of trained layers: the cost of an accuracy by each method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, Figure, styled
from asi_core.records import HEAD_KIND
from asi_core.units import THIN_SPACE, layer_count, three_digits

# For a method's second and third setting.
_DASHES = ("solid", "dash", "dot")
_MARKS = ("", "-open", "-dot")


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """A method at a number of trained layers.

    Attributes:
        accuracy: 0 to 1, mean over seeds.
        deviation: of the accuracy over seeds; None for one seed.
        price: in the axis's base unit.
    """

    layers: int
    accuracy: float
    deviation: float | None
    price: float


@dataclass(frozen=True, slots=True)
class DepthCurve:
    """A method's points, fewest layers first; `style` is a key into `STYLES`."""

    label: str
    style: str
    points: tuple[DepthPoint, ...]


def plot_over_depth(
    curves: Sequence[DepthCurve],
    *,
    head: float | None,
    title: str,
    price: str,
    unit: str,
    scale: float = 1,
) -> Figure:
    """Test accuracy against a price on a log scale, one line per method along its layers.

    Args:
        head: accuracy of the linear probe, which has no price: a dotted line.
        price: title of the x axis, `unit` its unit and `scale` that unit in base units.
    """
    figure = go.Figure()
    seen: Counter[str] = Counter()
    for curve in curves:
        figure.add_trace(_line(curve, unit, scale, seen[curve.style]))
        seen[curve.style] += 1
    if head is not None:
        style = STYLES[HEAD_KIND]
        figure.add_hline(
            y=100 * head,
            line={"color": style.color, "dash": style.dash, "width": 2},
            annotation={
                "text": f"linear probe: {three_digits(100 * head)}{THIN_SPACE}%",
                "font": {"color": style.color},
            },
            annotation_position="bottom right",
        )
    styled(figure, title=title, x=f"{price}, {unit}, log scale", y="test accuracy (measured), %")
    figure.update_xaxes(type="log", exponentformat="none", separatethousands=True, dtick=1)
    return figure.update_layout(hovermode="closest", height=420, legend={"y": -0.25})


def _line(curve: DepthCurve, unit: str, scale: float, number: int) -> go.Scatter:
    style = STYLES[curve.style]
    turn = min(number, len(_DASHES) - 1)
    return go.Scatter(
        x=[point.price / scale for point in curve.points],
        y=[100 * point.accuracy for point in curve.points],
        error_y={
            "type": "data",
            "array": [100 * (point.deviation or 0) for point in curve.points],
            "thickness": 1.2,
            "width": 3,
        },
        name=curve.label,
        uid=curve.label,
        mode="lines+markers",
        line={"color": style.color, "width": 2, "dash": _DASHES[turn] if number else style.dash},
        marker={"symbol": style.symbol + _MARKS[turn], "size": 10, "color": style.color},
        hovertext=[_message(curve.label, point, unit, scale) for point in curve.points],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _message(label: str, point: DepthPoint, unit: str, scale: float) -> str:
    spread = "" if point.deviation is None else f" ± {100 * point.deviation:.1f}"
    layers = layer_count(point.layers)
    return "<br>".join(
        (
            f"<b>{label}</b>",
            layers,
            f"{100 * point.accuracy:.1f}{spread}{THIN_SPACE}%",
            f"{three_digits(point.price / scale)} {unit}",
        )
    )
