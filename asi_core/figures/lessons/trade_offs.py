"""Trade-offs: what a budget allows, and how the rank changes memory and work."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import plotly.graph_objects as go

from asi_core.figures.pareto import ParetoRow, plot_pareto
from asi_core.figures.style import STYLES, styled
from asi_core.methods import REFERENCE_KIND
from asi_core.units import MIB, THIN_SPACE, format_bytes, three_digits

_CHOSEN = "#AA4499"


def plot_budget(
    rows: Sequence[ParetoRow], budget_bytes: float, chosen: ParetoRow | None, memory: str
) -> go.Figure:
    """Accuracy against memory, with a budget and the most accurate row within it.

    Args:
        memory: title of the cost on the axis.
    """
    figure = plot_pareto(rows, cost=memory, unit="MiB", scale=MIB)
    figure.add_vline(x=budget_bytes / MIB, line={"color": _CHOSEN, "dash": "dash", "width": 2})
    figure.add_annotation(
        # Annotations on a log axis are placed by the exponent.
        x=log10(budget_bytes / MIB),
        y=1,
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        text=f"budget {format_bytes(budget_bytes)}",
        font={"color": _CHOSEN, "size": 13},
    )
    if chosen is not None:
        figure.add_trace(
            go.Scatter(
                x=[chosen.cost / MIB],
                y=[100 * chosen.accuracy],
                mode="markers",
                marker={
                    "symbol": "circle-open",
                    "size": 26,
                    "color": _CHOSEN,
                    "line": {"width": 3},
                },
                name="the best that fits",
                hoverinfo="skip",
            )
        )
    return figure


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
