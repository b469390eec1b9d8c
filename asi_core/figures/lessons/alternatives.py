"""What one would do instead of compressing: methods over the size of micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asi_core.figures.style import STYLES, styled, unit_title
from asi_core.units import MIB, format_bytes

_CHOSEN = "#AA4499"


def plot_needs(
    sizes: Sequence[int],
    needs: Sequence[tuple[str, str, Sequence[int]]],
    chosen: int,
    *,
    log: bool = False,
) -> go.Figure:
    """What training needs at once over the size of a micro-batch, a line for each method.

    Args:
        sizes: images in a micro-batch.
        needs: label, key into `STYLES`, and bytes for each of the sizes.
        chosen: the size at which a line stands.
    """
    figure = go.Figure()
    for label, style, values in needs:
        look = STYLES[style]
        figure.add_trace(
            go.Scatter(
                x=list(sizes),
                y=[value / MIB for value in values],
                name=label,
                uid=label,
                mode="lines+markers",
                line={"color": look.color, "dash": look.dash, "width": 2.5},
                marker={"symbol": look.symbol, "size": 9},
                customdata=[format_bytes(value) for value in values],
                hovertemplate="%{customdata}",
            )
        )
    figure.add_vline(x=chosen, line={"color": _CHOSEN, "dash": "dash", "width": 2})
    styled(
        figure,
        title="Needed at once (formula)",
        x="images in a micro-batch, log scale",
        y=unit_title("MiB", log=log),
        log_y=log,
    )
    figure.update_layout(uirevision=f"needs {log}")
    if not log:
        figure.update_yaxes(rangemode="tozero")
    ticks = sorted(sizes)
    return figure.update_xaxes(type="log", tickvals=ticks, ticktext=list(map(str, ticks)))
