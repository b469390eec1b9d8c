"""Figures of what methods keep and cost by formula, and of what a measured step keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, Drawing, styled, unit_title
from asi_core.figures.totals import TotalRow, draw_totals
from asi_core.units import (
    KIB,
    MIB,
    by_formula,
    fewer_or_more,
    format_bytes,
    format_count,
    less_or_more,
)

PARTS = {
    "forward": "forward",
    "overhead": "overhead",
    "input_gradient": "input gradient",
    "weight_gradient": "weight gradient",
}
BYTE_UNITS = {"KiB": KIB, "MiB": MIB}
_PATTERNS = {"forward": "", "overhead": "x", "input_gradient": "/", "weight_gradient": "."}
_NEUTRAL = "#7A8188"
_HEIGHT = 380
_FEW = 12
_COUNT_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class LayerBar:
    """One layer under one method: bytes kept, and work by part (keys of `PARTS`)."""

    name: str
    kept_bytes: int
    work: Mapping[str, int]

    @property
    def total_work(self) -> int:
        return sum(self.work.values())


@dataclass(frozen=True, slots=True)
class MethodBars:
    """One method over the trained layers, in forward order; `style` is a key into `STYLES`."""

    label: str
    style: str
    layers: Sequence[LayerBar]


@dataclass(frozen=True, slots=True)
class MeasuredBars:
    """Bytes that one measured step kept, by category, and the formula for the trained inputs; None
    for a method without closed form."""

    label: str
    style: str
    formula_bytes: int | None
    categories: Mapping[str, int]


def plot_kept_bytes(
    methods: Sequence[MethodBars], *, unit: str, per_layer: bool, log: bool
) -> go.Figure:
    """`draw_kept_bytes` as a figure."""
    return go.Figure(draw_kept_bytes(methods, unit=unit, per_layer=per_layer, log=log))


def plot_work(methods: Sequence[MethodBars], *, unit: str, per_layer: bool, log: bool) -> go.Figure:
    """`draw_work` as a figure."""
    return go.Figure(draw_work(methods, unit=unit, per_layer=per_layer, log=log))


def draw_kept_bytes(
    methods: Sequence[MethodBars], *, unit: str, per_layer: bool, log: bool
) -> Drawing:
    """Bytes kept for backward, by formula: one bar per method for each layer, or their sum.

    Args:
        methods: all others are compared with the first.
        unit: key into `BYTE_UNITS`.
        per_layer: otherwise one bar per method, stacked from the layers on a linear axis.
    """
    scale, title = BYTE_UNITS[unit], "Kept for backward (formula)"
    if not per_layer:
        rows = [_total_bytes(method, methods[0], scale) for method in methods]
        return draw_totals(rows, title=title, unit=unit, log=log)
    traces = []
    for method in methods:
        hover = _layer_bytes(method, methods[0])
        traces.append(_bars(method, [layer.kept_bytes for layer in method.layers], scale, hover))
    return _framed(traces, title, unit, log)


def draw_work(methods: Sequence[MethodBars], *, unit: str, per_layer: bool, log: bool) -> Drawing:
    """Work of a training step, by formula: a bar per method, for each layer or summed. On a linear
    axis it is stacked from the parts of the work.

    Args:
        methods: as in `draw_kept_bytes`; their work is counted in `unit`.
        unit: of the counts, such as MACs.
    """
    title = "Cost of a step (formula)"
    totals = [[layer.total_work for layer in method.layers] for method in methods]
    shown = totals if per_layer else [[sum(row)] for row in totals]
    most = max((total for row in shown for total in row), default=0)
    scale, prefix = next(((s, p) for s, p in _COUNT_SCALES if most >= s), (1.0, ""))
    if not per_layer:
        rows = [_total_work(method, methods[0], unit, scale) for method in methods]
        patterns = {name: _pattern(part) for part, name in PARTS.items()}
        return draw_totals(rows, title=title, unit=f"{prefix}{unit}", log=log, patterns=patterns)
    traces = []
    for method, whole in zip(methods, totals, strict=True):
        messages = [
            f"whole step: {format_count(total, unit)}{_ratio(total, vanilla, method, methods[0])}"
            for total, vanilla in zip(whole, totals[0], strict=True)
        ]
        if log:
            hover = [f"{method.label}, {message}" for message in messages]
            traces.append(_bars(method, whole, scale, hover))
        else:
            traces += _stacked_parts(method, unit, scale, messages)
    if not log:
        traces += [_part_key(part, name) for part, name in PARTS.items()]
    return _framed(traces, title, f"{prefix}{unit}", log)


def plot_measured(rows: Sequence[MeasuredBars]) -> go.Figure:
    """Bytes kept in a real step, stacked by category, with the formula as a marker."""
    figure = go.Figure()
    kinds = list(dict.fromkeys(k for row in rows for k in row.categories))
    labels = [row.label for row in rows]
    for nth, kind in enumerate(kinds):
        values = [row.categories.get(kind, 0) for row in rows]
        if any(values):
            figure.add_trace(_category(kind, nth, rows, values))
    figure.add_trace(
        go.Scatter(
            x=labels,
            y=[None if row.formula_bytes is None else row.formula_bytes / MIB for row in rows],
            name="formula: trained layer inputs",
            mode="markers",
            marker={
                "symbol": "diamond-open",
                "size": 13,
                "line": {"width": 2.5},
                "color": "#CC79A7",
            },
            customdata=[by_formula(row.formula_bytes, format_bytes) for row in rows],
            hovertemplate="formula: %{customdata}<extra></extra>",
        )
    )
    styled(figure, title="All bytes saved in one step (measured)", x="", y="MiB")
    return figure.update_layout(
        barmode="stack", hovermode="closest", height=_HEIGHT, legend={"traceorder": "normal"}
    ).update_xaxes(type="category", tickangle=0)


def _layer_bytes(method: MethodBars, first: MethodBars) -> list[str]:
    """Each layer's bytes in words."""
    return [
        f"{method.label}, {layer.name}: {format_bytes(layer.kept_bytes)}"
        f"{_ratio(layer.kept_bytes, base.kept_bytes, method, first)}"
        for layer, base in zip(method.layers, first.layers, strict=True)
    ]


def _total_bytes(method: MethodBars, first: MethodBars, scale: float) -> TotalRow:
    kept, base = (sum(layer.kept_bytes for layer in m.layers) for m in (method, first))
    text = format_bytes(kept)
    return TotalRow(
        method.label,
        method.style,
        text + _short_ratio(kept, base, method, first),
        [layer.kept_bytes / scale for layer in method.layers],
        _layer_bytes(method, first),
        f"{method.label}: {text}{_ratio(kept, base, method, first)}",
    )


def _total_work(method: MethodBars, first: MethodBars, unit: str, scale: float) -> TotalRow:
    work, base = (sum(layer.total_work for layer in m.layers) for m in (method, first))
    parts = {part: sum(layer.work[part] for layer in method.layers) for part in PARTS}
    text = format_count(work, unit)
    hover = f"whole step: {text}{_ratio(work, base, method, first)}"
    return TotalRow(
        method.label,
        method.style,
        text if method is first else f"{text}, {fewer_or_more(work, base, '')}",
        [value / scale for value in parts.values()],
        [
            f"{method.label}, {PARTS[part]}: {format_count(value, unit)}<br>{hover}"
            for part, value in parts.items()
        ],
        f"{method.label}, {hover}",
    )


def _stacked_parts(
    method: MethodBars, unit: str, scale: float, messages: Sequence[str]
) -> list[dict[str, Any]]:
    """One trace for each part of the work, stacked."""
    traces, below = [], [0] * len(messages)
    for part, name in PARTS.items():
        values = [layer.work[part] for layer in method.layers]
        hover = [
            f"{method.label}, {name}: {format_count(value, unit)}<br>{whole}"
            for value, whole in zip(values, messages, strict=True)
        ]
        trace = _bars(method, values, scale, hover)
        trace["base"] = [low / scale for low in below]
        trace["marker"]["pattern"] = _pattern(part)
        if part != "forward":
            trace |= {"name": f"{method.label}, {name}", "showlegend": False}
        traces.append(trace)
        below = [low + value for low, value in zip(below, values, strict=True)]
    return traces


def _bars(
    method: MethodBars, values: Sequence[int], scale: float, hover: Sequence[str]
) -> dict[str, Any]:
    """A bar for each layer."""
    return {
        "type": "bar",
        "x": [str(number) for number in range(1, len(values) + 1)],
        "y": [value / scale for value in values],
        "name": method.label,
        "legendgroup": method.style,
        "showlegend": True,
        "offsetgroup": method.style,
        "marker": {"color": STYLES[method.style].color, "line": {"width": 0}},
        "customdata": list(hover),
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _category(kind: str, nth: int, rows: Sequence[MeasuredBars], values: Sequence[int]) -> go.Bar:
    """The first category has the methods' colours; the others are the same for all methods."""
    shades = ("#56B4E9", "#7A8188", "#A9AFB5", "#C9CDD1", "#8C9AA8", "#B7A9A0", "#D8D2CC")
    shapes = ("", "", "/", ".", "x", "-", "+")
    return go.Bar(
        x=[row.label for row in rows],
        y=[value / MIB for value in values],
        name=kind,
        marker={
            "color": [STYLES[row.style].color for row in rows] if nth == 0 else shades[nth % 7],
            "pattern": {"shape": shapes[nth % 7], "size": 6},
        },
        customdata=[format_bytes(value) for value in values],
        hovertemplate=f"{kind}: %{{customdata}}<extra></extra>",
    )


def _part_key(part: str, name: str) -> dict[str, Any]:
    """A legend entry for a part of the work, independent of the method."""
    marker = {"color": _NEUTRAL, "pattern": _pattern(part)}
    return {"type": "bar", "x": [None], "y": [None], "name": name, "marker": marker}


def _pattern(part: str) -> dict[str, Any]:
    return {"shape": _PATTERNS[part], "fillmode": "overlay", "size": 7, "solidity": 0.35}


def _ratio(value: float, base: float, method: MethodBars, first: MethodBars) -> str:
    compared = _against(value, base, method, first)
    return f" ({compared} than {first.label.lower()})" if compared else ""


def _short_ratio(value: float, base: float, method: MethodBars, first: MethodBars) -> str:
    compared = _against(value, base, method, first)
    return f", {compared}" if compared else ""


def _against(value: float, base: float, method: MethodBars, first: MethodBars) -> str:
    if method is first or not base or not value:
        return ""
    return less_or_more(value, base)


def _framed(traces: Sequence[dict[str, Any]], title: str, unit: str, log: bool) -> Drawing:
    shown = len(traces[0]["x"]) if traces else 0
    frame = _frame(title, unit, log)
    order = [str(number) for number in range(1, shown + 1)]
    layout = {
        **frame,
        "xaxis": {**frame["xaxis"], "categoryorder": "array", "categoryarray": order},
        "bargap": 0.12 if shown > _FEW else 0.2,
        # A zoom into other bars or another scale would not fit these.
        "uirevision": f"{unit} {log} {shown}",
    }
    return {"data": list(traces), "layout": layout}


@lru_cache(maxsize=64)
def _frame(title: str, unit: str, log: bool) -> dict[str, Any]:
    """The layout that does not depend on the numbers; it takes a quarter of a figure's time."""
    x, y = "trained layer, in forward order", unit_title(unit, log=log)
    figure = styled(go.Figure(), title=title, x=x, y=y, log_y=log)
    figure.update_layout(hovermode="closest", height=_HEIGHT, barmode="group")
    figure.update_xaxes(type="category", tickangle=0)
    frame: dict[str, Any] = figure.to_plotly_json()["layout"]
    return frame
