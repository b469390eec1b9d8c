"""Figures of what methods keep and cost by formula, and of what a measured step keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, Drawing, styled
from asi_core.units import (
    KIB,
    MIB,
    THIN_SPACE,
    by_formula,
    format_bytes,
    format_count,
    three_digits,
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
        methods: the hover compares the others with the first, layer by layer.
        unit: key into `BYTE_UNITS`.
        per_layer: otherwise one bar per method, stacked from the layers.
    """
    scale, traces = BYTE_UNITS[unit], []
    for method in methods:
        values = [layer.kept_bytes for layer in method.layers]
        hover = [
            f"{method.label}, {layer.name}: {format_bytes(layer.kept_bytes)}"
            f"{_ratio(layer.kept_bytes, first.kept_bytes, method, methods[0])}"
            for layer, first in zip(method.layers, methods[0].layers, strict=True)
        ]
        below = [0] * len(values) if per_layer else _below(values)
        traces.append(_bars(method, per_layer, values, below, scale, hover))
    return _framed(traces, "Kept for backward (formula)", unit, log, per_layer)


def draw_work(methods: Sequence[MethodBars], *, unit: str, per_layer: bool, log: bool) -> Drawing:
    """Work of a training step by part, by formula: stacked bars per method, per layer or summed.

    Args:
        methods: as in `draw_kept_bytes`; their work is counted in `unit`.
        unit: of the counts, such as MACs.
    """
    totals = [_sums(method.layers, per_layer) for method in methods]
    most = max((total for row in totals for total in row), default=0)
    scale, prefix = next(((s, p) for s, p in _COUNT_SCALES if most >= s), (1.0, ""))
    traces = []
    for method, whole in zip(methods, totals, strict=True):
        message = [
            f"<br>whole step: {format_count(total, unit)}"
            f"{_ratio(total, vanilla, method, methods[0])}"
            for total, vanilla in zip(whole, totals[0], strict=True)
        ]
        traces += _stacked_parts(method, unit, scale, per_layer, message)
    traces += [_part_key(part, name) for part, name in PARTS.items()]
    return _framed(traces, "Cost of a step (formula)", f"{prefix}{unit}", log, per_layer)


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


def _sums(layers: Sequence[LayerBar], per_layer: bool) -> list[int]:
    work = [layer.total_work for layer in layers]
    return work if per_layer else [sum(work)]


def _stacked_parts(
    method: MethodBars, unit: str, scale: float, per_layer: bool, message: Sequence[str]
) -> list[dict[str, Any]]:
    """One trace for each part of the work, stacked."""
    traces, below = [], [0] * len(message)
    for part, name in PARTS.items():
        values = [layer.work[part] for layer in method.layers]
        values = values if per_layer else [sum(values)]
        hover = [
            f"{method.label}, {name}: {format_count(value, unit)}{whole}"
            for value, whole in zip(values, message, strict=True)
        ]
        trace = _bars(method, per_layer, values, below, scale, hover)
        trace["marker"]["pattern"] = _pattern(part)
        if part != "forward":
            trace |= {"name": f"{method.label}, {name}", "showlegend": False}
        traces.append(trace)
        below = [low + value for low, value in zip(below, values, strict=True)]
    return traces


def _bars(
    method: MethodBars,
    per_layer: bool,
    values: Sequence[int],
    below: Sequence[int],
    scale: float,
    hover: Sequence[str],
) -> dict[str, Any]:
    label = method.label.replace(" ", "<br>")
    numbers = [str(number) for number in range(1, len(values) + 1)]
    return {
        "type": "bar",
        "x": numbers if per_layer else [label] * len(values),
        "y": [value / scale for value in values],
        # A log axis has no zero: there a bar without a base starts at the frame.
        "base": [low / scale if low else None for low in below],
        "name": method.label,
        "legendgroup": method.style,
        "showlegend": per_layer,
        "offsetgroup": method.style if per_layer else None,
        "marker": {"color": STYLES[method.style].color, "line": {"width": 0 if per_layer else 1}},
        "customdata": hover,
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


def _below(values: Sequence[int]) -> list[int]:
    return [0, *accumulate(values)][: len(values)]


def _ratio(value: float, base: float, method: MethodBars, first: MethodBars) -> str:
    if method is first or not base or not value:
        return ""
    times, word = (base / value, "less") if value <= base else (value / base, "more")
    return f" ({three_digits(times)}{THIN_SPACE}× {word} than {first.label.lower()})"


def _framed(
    traces: Sequence[dict[str, Any]], title: str, unit: str, log: bool, per_layer: bool
) -> Drawing:
    shown = len(traces[0]["x"]) if traces and per_layer else 0
    frame = _frame(title, unit, log, per_layer)
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
def _frame(title: str, unit: str, log: bool, per_layer: bool) -> dict[str, Any]:
    """The layout that does not depend on the numbers; it takes a quarter of a figure's time."""
    x = "trained layer, in forward order" if per_layer else ""
    message = f"{unit}, log scale" if log else unit
    figure = styled(go.Figure(), title=title, x=x, y=message, log_y=log)
    figure.update_layout(
        hovermode="closest", height=_HEIGHT, barmode="group" if per_layer else "overlay"
    )
    figure.update_xaxes(type="category", tickangle=0)
    frame: dict[str, Any] = figure.to_plotly_json()["layout"]
    return frame
