"""Accuracy against a cost, with the Pareto front of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.labels import (
    MARKER,
    Box,
    Edge,
    Label,
    PlotSize,
    marker_box,
    place_labels,
    text_width,
)
from asi_core.figures.style import STYLES, in_narrow, styled
from asi_core.records import HEAD_KIND
from asi_core.units import THIN_SPACE, three_digits

_DIMMED = 0.4
# Room beside, below and above the points, as shares of what they span.
_MARGIN, _BELOW, _ABOVE = 0.03, 0.07, 0.17
# The least area between the axes of a figure that is not narrow (`style.NARROW`), and on a phone.
_WIDE, _NARROW = PlotSize(540, 230), PlotSize(250, 170)
# Half the width of an error bar's end, and the linear probe's text: its height and the space
# around it, in pixels.
_ERROR_WIDTH, _FLOOR_HEIGHT, _PADDING = 4, 22, 4


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

    The linear probe keeps nothing of any trained layer: it is a dotted line, not a point. Marks
    that would cover another, a point or the linear probe's line are left to the hover; `meta` of a
    trace has those of a narrow figure (`style.in_narrow`).

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
    frame = _frame(points, floors, log=log)
    marks = {size: _marks(front, points, floors, frame, size) for size in (_WIDE, _NARROW)}
    figure = go.Figure()
    if len(front) > 1:
        figure.add_trace(_front_line(front, scale))
    for style in dict.fromkeys(row.style for row in points):
        mine = [(row, good) for row, good in zip(points, kept, strict=True) if row.style == style]
        _add_style(figure, [row for row, good in mine if not good], style, scale, good=False)
        bright = [row for row, good in mine if good]
        _add_style(figure, bright, style, scale, good=True)
        _add_marks(figure.data[-1], bright, marks)
    _show_each_method_once(figure)
    _add_floor(figure, floors)
    styled(figure, title=f"Accuracy against {cost}", x=f"{cost}, {unit}{', log scale' * log}", y="")
    figure.update_layout(hovermode="closest", height=420, margin={"t": 56})
    # A zoom does not fit the other axis.
    figure.update_layout(uirevision="log" if log else "linear")
    figure.update_xaxes(exponentformat="none", separatethousands=True)
    if log:
        figure.update_xaxes({"type": "log", **_ticks([row.cost / scale for row in points])})
    if points:
        figure.update_xaxes(range=frame.x_range(scale))
        figure.update_yaxes(range=[100 * end for end in (frame.lowest, frame.highest)])
    return figure.update_yaxes(title_text="test accuracy (measured), %")


@dataclass(frozen=True, slots=True)
class _Frame:
    """The ends of both axes, in which a point has a place.

    Attributes:
        least, most: of the cost, as the axis is divided: its logarithm on a log axis.
        lowest, highest: of the accuracy, 0 to 1.
    """

    log: bool
    least: float
    most: float
    lowest: float
    highest: float

    def x(self, cost: float) -> float:
        return ((log10(cost) if self.log else cost) - self.least) / (self.most - self.least)

    def y(self, accuracy: float) -> float:
        return (accuracy - self.lowest) / (self.highest - self.lowest)

    def x_range(self, scale: float) -> list[float]:
        ends = (self.least, self.most)
        return [end - log10(scale) if self.log else end / scale for end in ends]


def _frame(points: Sequence[ParetoRow], floors: Sequence[ParetoRow], *, log: bool) -> _Frame:
    """All points and their error bars, with room for a label above the best."""
    costs = [row.cost + _half_width(row) for row in points]
    least, most = 0.0, max(costs, default=1.0)
    if log:
        lower = [row.cost - _half_width(row) for row in points]
        least, most = log10(min(lower, default=0.1)), log10(most)
    side = _MARGIN * (most - least) or 0.5
    accuracies = [row.accuracy + sign * _spread(row) for row in points for sign in (-1, 1)]
    accuracies += [row.accuracy for row in floors]
    lowest, highest = min(accuracies, default=0.0), max(accuracies, default=1.0)
    height = highest - lowest or 0.01
    return _Frame(
        log, least - side, most + side, lowest - _BELOW * height, highest + _ABOVE * height
    )


def _marks(
    front: Sequence[ParetoRow],
    points: Sequence[ParetoRow],
    floors: Sequence[ParetoRow],
    frame: _Frame,
    size: PlotSize,
) -> dict[str, str]:
    """The place of each mark for which there is room, by key; the best accuracy comes first."""
    labels = [Label(frame.x(row.cost), frame.y(row.accuracy), row.mark) for row in reversed(front)]
    obstacles = [marker_box(frame.x(row.cost), frame.y(row.accuracy)) for row in points]
    obstacles += _floor_boxes(floors, frame)
    bars = [_error_bar(row, frame) for row in points if row.accuracy_deviation]
    places = place_labels(labels, size, obstacles=obstacles, background=bars)
    placed = zip(reversed(front), places, strict=True)
    return {row.key: place for row, place in placed if place is not None}


def _error_bar(row: ParetoRow, frame: _Frame) -> Box:
    x, half = frame.x(row.cost), _spread(row)
    low, high = frame.y(row.accuracy - half), frame.y(row.accuracy + half)
    return Box(Edge(x, -_ERROR_WIDTH), Edge(x, _ERROR_WIDTH), Edge(low), Edge(high))


def _floor_boxes(floors: Sequence[ParetoRow], frame: _Frame) -> list[Box]:
    """The linear probe's line, and its text below the line's right end."""
    if not floors:
        return []
    best = max(floors, key=lambda row: row.accuracy)
    y, width = frame.y(best.accuracy), text_width(_floor_text(best)) + 2 * _PADDING
    return [
        Box(Edge(0), Edge(1), Edge(y, -1), Edge(y, 1)),
        Box(Edge(1, -width), Edge(1), Edge(y, -_FLOOR_HEIGHT), Edge(y)),
    ]


def _add_marks(
    trace: go.Scatter, rows: Sequence[ParetoRow], marks: Mapping[PlotSize, Mapping[str, str]]
) -> None:
    """Show the marks that have a place, in a wide figure and in a narrow one."""
    if not rows:
        return
    wide, narrow = (_texts(rows, marks[size]) for size in (_WIDE, _NARROW))
    trace.update({**wide, "meta": in_narrow(narrow)})


def _texts(rows: Sequence[ParetoRow], places: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        "text": [row.mark if row.key in places else "" for row in rows],
        "textposition": [places.get(row.key, "top left") for row in rows],
    }


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
            error_y=_error_bars([100 * _spread(row) for row in rows]),
            mode="markers+text" if good else "markers",
            cliponaxis=False,
            customdata=[row.key for row in rows],
            hovertext=["<br>".join((f"<b>{row.label}</b>", *row.facts)) for row in rows],
            hovertemplate="%{hovertext}<extra></extra>",
            name=_family(rows[0].label),
            uid=f"{style}-{'front' if good else 'dominated'}",
            legendgroup=style,
            opacity=1.0 if good else _DIMMED,
            marker={"color": method_style.color, "symbol": method_style.symbol, "size": MARKER},
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
            "text": _floor_text(best),
            "font": {"color": method_style.color},
        },
        annotation_position="bottom right",
    )


def _floor_text(best: ParetoRow) -> str:
    return f"linear probe: {three_digits(100 * best.accuracy)}{THIN_SPACE}%"


def _spread(row: ParetoRow) -> float:
    return row.accuracy_deviation or 0.0


def _half_width(row: ParetoRow) -> float:
    """The cost's deviation, limited to what a log axis can show."""
    deviation = row.cost_deviation or 0
    return deviation if deviation < row.cost else 0


def _error_bars(values: list[float]) -> dict[str, object]:
    return {
        "type": "data",
        "array": values,
        "visible": any(values),
        "thickness": 1.2,
        "width": _ERROR_WIDTH,
    }
