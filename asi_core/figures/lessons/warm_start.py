"""Why a warm start works: the energy that one iteration keeps per step, and its cost."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, styled, unit_title
from asi_core.methods import ASI, HOSVD, REFERENCE_KIND
from asi_core.units import THIN_SPACE, format_count, three_digits

COLD = "#CC6677"


def plot_replay(
    steps: Sequence[int], captured: Sequence[float] | None, best: Sequence[float], now: int
) -> go.Figure:
    """Energy that ASI kept, and that HOSVD would have kept at the same ranks, up to step `now`.

    Args:
        captured, best: shares, 0 to 1, one per step; without `captured` ASI is not drawn.
    """
    shown = [number for number, step in enumerate(steps) if step <= now]
    figure = go.Figure()
    for method, values in ((HOSVD, best), (ASI, captured)):
        if values is None:
            continue
        method_style = STYLES[method.class_kind()]
        figure.add_trace(
            go.Scatter(
                x=[steps[number] for number in shown],
                y=[100 * values[number] for number in shown],
                mode="lines+markers",
                name=method.label,
                line={"color": method_style.color, "dash": method_style.dash, "width": 2.5},
                marker={"symbol": method_style.symbol, "size": 9},
                hovertemplate="%{y:.1f} %",
            )
        )
    styled(figure, title="Energy kept (measured)", x="training step", y="energy kept, %")
    figure.update_xaxes(range=[0, steps[-1] * 1.03])
    return figure.update_yaxes(range=_around([*(captured or ()), *best]))


def plot_turning(
    best: Sequence[float], warm: Sequence[float] = (), cold: Sequence[float] = ()
) -> go.Figure:
    """Energy of a matrix with a rotating subspace, kept by three ways of finding a basis (0 to
    1); those without values are not drawn."""
    asi, hosvd = (STYLES[method.class_kind()] for method in (ASI, HOSVD))
    figure = go.Figure()
    for name, color, dash, symbol, values in (
        ("singular vectors", hosvd.color, hosvd.dash, hosvd.symbol, best),
        ("warm start", asi.color, asi.dash, asi.symbol, warm),
        ("cold start", COLD, "dot", "x", cold),
    ):
        if not values:
            continue
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(values) + 1)),
                y=[100 * value for value in values],
                mode="lines+markers",
                name=name,
                line={"color": color, "dash": dash, "width": 2.5},
                marker={"symbol": symbol, "size": 6},
                hovertemplate="%{y:.1f} %",
            )
        )
    styled(figure, title="One iteration per step (computed)", x="step", y="energy kept, %")
    return figure.update_xaxes(range=[0.5, len(best) + 0.5])


def plot_overheads(
    overheads: Sequence[tuple[str, str, int]], baseline: int, *, log: bool = False
) -> go.Figure:
    """Multiply-accumulates for finding the bases, one bar each.

    Args:
        overheads: label, key into `STYLES`, and MACs.
        baseline: MACs of the whole vanilla step, for the hover and the line.
    """
    figure = go.Figure()
    for label, style, macs in overheads:
        figure.add_trace(
            go.Bar(
                x=[label],
                y=[macs / 1e9],
                marker={"color": STYLES[style].color},
                name=label,
                showlegend=False,
                text=[format_count(macs, "MACs")],
                textposition="auto",
                hovertemplate=f"%{{text}}, {three_digits(macs / baseline)}{THIN_SPACE}× the "
                "vanilla step<extra></extra>",
            )
        )
    method_style = STYLES[REFERENCE_KIND]
    figure.add_trace(
        go.Scatter(
            x=[label for label, _, _ in overheads],
            y=[baseline / 1e9] * len(overheads),
            mode="lines",
            name="whole step of vanilla",
            line={"color": method_style.color, "dash": "dash", "width": 2.5},
            hovertemplate=f"{format_count(baseline, 'MACs')}<extra></extra>",
        )
    )
    title = "Cost of finding the bases (formula)"
    styled(figure, title=title, x="", y=unit_title("GMACs per step", log=log), log_y=log)
    return figure.update_layout(hovermode="closest", uirevision=f"overheads {log}")


def _around(shares: Sequence[float]) -> list[float]:
    low, high = 100 * min(shares), 100 * max(shares)
    margin = max(1.0, 0.25 * (high - low))
    return [max(0.0, low - margin), min(100.5, high + margin)]
