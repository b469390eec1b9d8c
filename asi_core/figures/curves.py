"""Figures of training runs: one line or bar per run, in its method's style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from asi_core.figures.style import STYLES, log_axis, styled, unit_title
from asi_core.records import of_whole_batches
from asi_core.units import (
    DASH,
    KIB,
    THIN_SPACE,
    by_formula,
    format_bytes,
    format_count,
    format_seconds,
)

_MOST_POINTS = 500
# Pixels of the least height of a line of a run's name, of the bars below it, of what is around both
# in their row, and around all rows.
_LINE, _BARS, _GAP, _AROUND_ROWS = 16, 17, 3, 124
# Characters of a line: what a third of a small screen holds in a presentation.
_LINE_LENGTH = 42


@dataclass(frozen=True, slots=True)
class RunRows:
    """The data of one run that figures need.

    Attributes:
        style: key into `STYLES`.
        steps: rows with the fields of a step event, ascending.
        evaluations: rows with `step`, `accuracy` and `loss`, ascending.
    """

    label: str
    style: str
    steps: Sequence[dict[str, Any]] = field(default_factory=list)
    evaluations: Sequence[dict[str, Any]] = field(default_factory=list)


def plot_accuracy(runs: Sequence[RunRows]) -> go.Figure:
    """Accuracy on the test images over the steps."""
    figure = go.Figure()
    for run in runs:
        steps = [row["step"] for row in run.evaluations]
        values = [100 * row["accuracy"] for row in run.evaluations]
        figure.add_trace(_line(run, steps, values, "%{y:.1f} %", markers=True))
    styled(figure, title="Test accuracy (measured)", x="step", y="accuracy, %")
    if not any(run.evaluations for run in runs):
        # No ranges: the browser would treat them as a user's zoom, and keep them when data is
        # added.
        figure.update_xaxes(showticklabels=False).update_yaxes(showticklabels=False)
    return figure


def plot_loss(runs: Sequence[RunRows]) -> go.Figure:
    """Training loss over the steps, as a running mean that smooths the noise of batches."""
    figure = go.Figure()
    for run in runs:
        steps = [row["step"] for row in run.steps]
        values = running_mean([row["loss"] for row in run.steps])
        figure.add_trace(_line(run, steps, values, "%{y:.3f}"))
    return styled(
        figure, title="Training loss (measured, running mean)", x="step", y="cross-entropy"
    )


def plot_memory(runs: Sequence[RunRows], *, log: bool = False) -> go.Figure:
    """Bytes kept for backward: the trained layers' inputs by formula, and all that was measured.

    If a run has no closed form, a note replaces its bar.
    """
    figure = go.Figure()
    kinds = (
        ("layer inputs, by formula", "activation_bytes", 1.0),
        ("all that is saved, measured", "saved_bytes", 0.45),
    )
    for place, (name, key, opacity) in enumerate(kinds):
        values = [known_mean(run.steps, key) for run in runs]
        labels = [DASH if v is None else format_bytes(v) for v in values]
        scaled = _scaled(values, KIB)
        figure.add_traces(_bars(name, runs, scaled, opacity, labels, part=place, of=len(kinds)))
    _write_what_is_missing(figure, runs, "activation_bytes", of=len(kinds))
    figure.update_layout(barmode="overlay")
    _in_rows(figure, runs, title="Activation memory", x=unit_title("KiB", log=log))
    return (log_axis(figure, "x") if log else figure).update_layout(uirevision=f"memory {log}")


def plot_cost(runs: Sequence[RunRows]) -> go.Figure:
    """Multiply-accumulates per step of the trained layers, by part (exact convention, formula).

    If a run has no closed form, a note replaces its bar.
    """
    figure = go.Figure()
    parts = (("forward", 1.0), ("overhead", 0.65), ("backward", 0.35))
    for part, opacity in parts:
        values = [known_mean(run.steps, f"{part}_macs") for run in runs]
        labels = [DASH if v is None else format_count(v, "MACs") for v in values]
        figure.add_traces(_bars(part, runs, _scaled(values, 1e9), opacity, labels))
    _write_what_is_missing(figure, runs, "forward_macs")
    figure.update_layout(barmode="stack")
    return _in_rows(figure, runs, title="Cost of a step (formula)", x="GMACs")


def plot_step_time(runs: Sequence[RunRows]) -> go.Figure:
    """The measured median time of a step of the trained part in seconds, divided into forward,
    backward and update by their shares of all steps."""
    figure = go.Figure()
    for part, opacity in (("forward", 1.0), ("backward", 0.65), ("update", 0.35)):
        values = [median_step(run.steps) * _share_of_time(run.steps, part) for run in runs]
        labels = [format_seconds(v) for v in values]
        figure.add_traces(_bars(part, runs, [1e3 * v for v in values], opacity, labels))
    figure.update_layout(barmode="stack")
    return _in_rows(figure, runs, title="Time of a step (measured, median)", x="milliseconds")


def median_step(steps: Sequence[dict[str, Any]]) -> float:
    """Median seconds of forward, backward and update together; 0 without steps."""
    return float(np.median([_step_seconds(row) for row in steps])) if steps else 0.0


def known_mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """Mean of a field over the steps with a whole batch; None without rows, or if a row has no
    value, which must not count as 0."""
    values = of_whole_batches([row[key] for row in rows], [row.get("forward_macs") for row in rows])
    return float(np.mean(values)) if values and None not in values else None


def running_mean(values: Sequence[float], window: int = 15) -> list[float]:
    """Mean over the latest `window` values, fewer at the start."""
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return [float(v) for v in (sums[ends] - sums[starts]) / (ends - starts)]


def _line(
    run: RunRows, x: Sequence[float], y: Sequence[float], hover: str, *, markers: bool = False
) -> go.Scatter:
    style = STYLES[run.style]
    thinned = slice(None, None, -(-len(x) // _MOST_POINTS) or 1)
    return go.Scatter(
        x=list(x)[thinned],
        y=list(y)[thinned],
        name=run.label,
        mode="lines+markers" if markers else "lines",
        line={"color": style.color, "dash": style.dash, "width": 2.5},
        marker={"symbol": style.symbol, "size": 8},
        hovertemplate=hover,
    )


def _bars(
    name: str,
    runs: Sequence[RunRows],
    values: Sequence[float | None],
    opacity: float,
    labels: Sequence[str],
    *,
    part: int = 0,
    of: int = 1,
) -> tuple[go.Bar, go.Bar]:
    """Bars in the methods' colours, and a grey legend entry with the same opacity.

    Args:
        part: of the `of` bars below each other in a row, from 0.
    """
    rows = _Rows.of(runs)
    bars = go.Bar(
        x=values,
        y=[rows.middle(row, part, of) for row in range(len(runs))],
        width=_BARS / of,
        orientation="h",
        name=name,
        legendgroup=name,
        showlegend=False,
        marker={"color": [STYLES[run.style].color for run in runs], "opacity": opacity},
        customdata=labels,
        hovertemplate="%{customdata}",
    )
    key = go.Bar(
        x=[None],
        y=[None],
        name=name,
        legendgroup=name,
        # In the colour itself: legends do not show a marker's opacity.
        marker={"color": f"rgba(122, 129, 136, {opacity})"},
    )
    return bars, key


def _scaled(values: Sequence[float | None], unit: float) -> list[float | None]:
    return [None if value is None else value / unit for value in values]


def _write_what_is_missing(
    figure: go.Figure, runs: Sequence[RunRows], key: str, of: int = 1
) -> None:
    """Add a note to each run that has no bar for a field by formula, the first of `of`."""
    rows = _Rows.of(runs)
    for row, run in enumerate(runs):
        if run.steps and known_mean(run.steps, key) is None:
            _write(figure, rows.middle(row, 0, of), by_formula(None, str))


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row per run, its name above its bars: names are too long to stand beside them, or below
    them in a narrow column. Heights are pixels of the lowest figure, from the top.

    Attributes:
        lines: of the longest name.
    """

    names: tuple[str, ...]
    lines: int

    @classmethod
    def of(cls, runs: Sequence[RunRows]) -> _Rows:
        labels = (run.label.removesuffix(" (head only)") for run in runs)
        wrapped = [wrap(label.replace(" %", f"{THIN_SPACE}%"), _LINE_LENGTH) for label in labels]
        return cls(tuple(map("<br>".join, wrapped)), max(map(len, wrapped), default=1))

    @property
    def height(self) -> int:
        """Of one row."""
        return self.lines * _LINE + _BARS + _GAP

    def middle(self, row: int, part: int, of: int) -> float:
        """Of a bar."""
        return row * self.height + self.lines * _LINE + _GAP / 2 + (part + 0.5) * _BARS / of

    def name_bottom(self, row: int) -> float:
        return row * self.height + self.lines * _LINE


def _in_rows(figure: go.Figure, runs: Sequence[RunRows], *, title: str, x: str) -> go.Figure:
    styled(figure, title=title, x=x, y="")
    rows = _Rows.of(runs)
    for row, name in enumerate(rows.names):
        _write(figure, rows.name_bottom(row), name, anchor="bottom")
    total = rows.height * max(len(runs), 1)
    figure.update_yaxes(range=[total, 0], showticklabels=False, showgrid=False)
    height = max(int(figure.layout.height), _AROUND_ROWS + total)
    return figure.update_layout(hovermode="closest", height=height)


def _write(figure: go.Figure, height: float, text: str, anchor: str = "middle") -> None:
    """At the left end of the plot."""
    at = {"x": 0, "xref": "x domain", "xanchor": "left", "y": height, "yanchor": anchor}
    figure.add_annotation(text=text, showarrow=False, font_size=12, align="left", borderpad=0, **at)


def _step_seconds(row: dict[str, Any]) -> float:
    return float(row["forward_seconds"] + row["backward_seconds"] + row["update_seconds"])


def _share_of_time(rows: Sequence[dict[str, Any]], part: str) -> float:
    whole = sum(_step_seconds(row) for row in rows)
    return float(sum(row[f"{part}_seconds"] for row in rows) / whole) if whole else 0.0
