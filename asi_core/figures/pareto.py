"""Accuracy against a cost, with the Pareto front of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import floor, log10
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, styled
from asi_core.records import HEAD_KIND
from asi_core.units import THIN_SPACE, three_digits

_DIMMED = 0.4
# Minimum distance of two labels, as a share of the width (cost, logarithmic) or the height.
_MARK_WIDTH, _MARK_HEIGHT = 0.12, 0.06
# Room beside the points of a linear axis, as a share of the largest cost.
_MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class ParetoRow:
    """One run, or the mean of runs that differ only in their seed.

    Attributes:
        key: `customdata` of the point, reported by a selection.
        mark: a short text at an undominated point, if there is room.
        style: key into `STYLES`.
        accuracy: 0 to 1.
        cost: in the axis's base unit.
        accuracy_deviation, cost_deviation: standard deviations over seeds; None for one seed.
        facts: one line each for the hover.
    """

    key: str
    label: str
    mark: str
    style: str
    accuracy: float
    cost: float
    accuracy_deviation: float | None = None
    cost_deviation: float | None = None
    facts: tuple[str, ...] = ()


def undominated(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """For each point, whether no other point dominates it.

    A point dominates another if its cost is not higher, its gain not lower, and one of them better.
    Equal points do not dominate each other.
    """
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    kept, best = [False] * len(costs), float("-inf")
    for _, same_cost in groupby(order, key=lambda i: costs[i]):
        members = list(same_cost)
        top = max(gains[i] for i in members)
        if top > best:
            for i in members:
                kept[i] = gains[i] == top
            best = top
    return kept


def plot_pareto(
    rows: Sequence[ParetoRow], *, cost: str, unit: str, scale: float = 1, log: bool = False
) -> go.Figure:
    """Test accuracy against a cost, one point per row; dominated points are dimmed.

    The linear probe keeps nothing of any trained layer: it is a dotted line, not a point.

    Args:
        cost: title of the x axis, such as "activation memory (formula)".
        unit: of the axis, with `scale` base units.
        log: whether the axis of the cost is logarithmic.
    """
    floors = [row for row in rows if row.style == HEAD_KIND]
    points = [row for row in rows if row.style != HEAD_KIND and row.cost > 0]
    kept = undominated([row.cost for row in points], [row.accuracy for row in points])
    front = sorted(
        (row for row, good in zip(points, kept, strict=True) if good), key=lambda row: row.cost
    )
    marked = _marked(front, points, log10 if log else float)
    figure = go.Figure()
    if len(front) > 1:
        figure.add_trace(_front_line(front, scale))
    for style in dict.fromkeys(row.style for row in points):
        mine = [(row, good) for row, good in zip(points, kept, strict=True) if row.style == style]
        _add_style(figure, [row for row, good in mine if not good], style, scale, good=False)
        bright = [_unmarked(row, marked) for row, good in mine if good]
        _add_style(figure, bright, style, scale, good=True)
    _show_each_method_once(figure)
    _add_floor(figure, floors)
    styled(figure, title=f"Accuracy against {cost}", x=f"{cost}, {unit}{', log scale' * log}", y="")
    figure.update_layout(hovermode="closest", height=420, margin={"t": 56})
    # A zoom does not fit the other axis.
    figure.update_layout(uirevision="log" if log else "linear")
    figure.update_xaxes(exponentformat="none", separatethousands=True)
    if log:
        figure.update_xaxes({"type": "log", **_ticks([row.cost / scale for row in points])})
    else:
        # Points near zero do not lie on the axis, and their marks are to the right of it.
        widest = max((row.cost / scale for row in points), default=1.0)
        figure.update_xaxes(range=[-_MARGIN * widest, (1 + _MARGIN) * widest])
        figure.for_each_trace(lambda trace: _set_marks_aside(trace, widest / 2))
    return figure.update_yaxes(title_text="test accuracy (measured), %")


def _set_marks_aside(trace: go.Scatter, middle: float) -> None:
    if trace.mode == "markers+text":
        trace.textposition = ["top right" if x < middle else "top left" for x in trace.x]


def _marked(
    front: Sequence[ParetoRow], points: Sequence[ParetoRow], placed: Callable[[float], float]
) -> set[str]:
    """Keys of the rows whose marks do not overlap, from the best accuracy down; `placed` is where
    the axis has a cost."""
    if not front:
        return set()
    costs, gains = [placed(row.cost) for row in points], [row.accuracy for row in points]
    width, height = max(costs) - min(costs) or 1.0, max(gains) - min(gains) or 1.0
    kept: list[tuple[float, float]] = []
    keys: set[str] = set()
    for row in reversed(front):
        x, y = placed(row.cost) / width, row.accuracy / height
        if all(abs(x - a) >= _MARK_WIDTH or abs(y - b) >= _MARK_HEIGHT for a, b in kept):
            kept.append((x, y))
            keys.add(row.key)
    return keys


def _unmarked(row: ParetoRow, marked: set[str]) -> ParetoRow:
    return row if row.key in marked else replace(row, mark="")


def _add_style(
    figure: go.Figure, rows: Sequence[ParetoRow], style: str, scale: float, *, good: bool
) -> None:
    if not rows:
        return
    method_style = STYLES[style]
    figure.add_trace(
        go.Scatter(
            x=[row.cost / scale for row in rows],
            y=[100 * row.accuracy for row in rows],
            error_x=_error_bars([_half_width(row) / scale for row in rows]),
            error_y=_error_bars([100 * (row.accuracy_deviation or 0) for row in rows]),
            mode="markers+text" if good else "markers",
            text=[row.mark for row in rows],
            textposition="top left",
            cliponaxis=False,
            customdata=[row.key for row in rows],
            hovertext=["<br>".join((f"<b>{row.label}</b>", *row.facts)) for row in rows],
            hovertemplate="%{hovertext}<extra></extra>",
            name=_family(rows[0].label),
            uid=f"{style}-{'front' if good else 'dominated'}",
            legendgroup=style,
            opacity=1.0 if good else _DIMMED,
            marker={"color": method_style.color, "symbol": method_style.symbol, "size": 13},
        )
    )


def _ticks(costs: Sequence[float]) -> dict[str, Any]:
    """Ticks only at powers of ten if there are several, otherwise also at 2 and 5 times.

    Plotly labels the latter with single digits, 2 for 20; here the labels are full numbers.
    """
    if not costs or max(costs) >= 50 * min(costs):
        return {"dtick": 1}
    decades = range(floor(log10(min(costs))), floor(log10(max(costs))) + 2)
    values = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    return {"tickvals": values, "ticktext": [f"{value:,.15g}" for value in values]}


def _family(label: str) -> str:
    """The method of a label such as "ASI, rank 4"."""
    return label.partition(",")[0]


def _show_each_method_once(figure: go.Figure) -> None:
    """In the legend, by its undominated points if there are any."""
    shown: set[str] = set()
    for trace in reversed(figure.data):
        if trace.legendgroup:
            trace.showlegend = trace.legendgroup not in shown
            shown.add(trace.legendgroup)


def _front_line(front: Sequence[ParetoRow], scale: float) -> go.Scatter:
    return go.Scatter(
        x=[row.cost / scale for row in front],
        y=[100 * row.accuracy for row in front],
        mode="lines",
        # Between two points, the accuracy is that of the cheaper one.
        line={"color": "#8C8C8C", "width": 1.5, "shape": "hv"},
        name="Pareto front",
        uid="front",
        hoverinfo="skip",
    )


def _add_floor(figure: go.Figure, floors: Sequence[ParetoRow]) -> None:
    if not floors:
        return
    method_style = STYLES[HEAD_KIND]
    best = max(floors, key=lambda row: row.accuracy)
    figure.add_hline(
        y=100 * best.accuracy,
        line={"color": method_style.color, "dash": method_style.dash, "width": 2},
        annotation={
            "text": f"linear probe: {three_digits(100 * best.accuracy)}{THIN_SPACE}%",
            "font": {"color": method_style.color},
        },
        annotation_position="bottom right",
    )


def _half_width(row: ParetoRow) -> float:
    """The cost's deviation, limited to what a log axis can show."""
    deviation = row.cost_deviation or 0
    return deviation if deviation < row.cost else 0


def _error_bars(values: list[float]) -> dict[str, object]:
    return {"type": "data", "array": values, "visible": any(values), "thickness": 1.2, "width": 4}
