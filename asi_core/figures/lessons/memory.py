"""Where the memory goes: weights and inputs, by layer and by batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.style import log_axis, styled, unit_title
from asi_core.units import KIB, MIB, THIN_SPACE, format_bytes, three_digits

INPUTS, WEIGHTS = "#0077BB", "#B5891A"


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """One trained layer: its weights, and its input as back-propagation keeps it."""

    name: str
    weight_bytes: int
    input_bytes: int


def plot_layers(layers: Sequence[LayerBytes], *, log: bool = False) -> go.Figure:
    """Bytes of weights and of kept inputs, a pair of bars per layer, in forward order."""
    figure = go.Figure()
    numbers = list(range(1, len(layers) + 1))
    for name, color, pattern, values in (
        ("weights", WEIGHTS, "/", [layer.weight_bytes for layer in layers]),
        ("kept inputs", INPUTS, "", [layer.input_bytes for layer in layers]),
    ):
        figure.add_trace(
            go.Bar(
                x=numbers,
                y=[value / KIB for value in values],
                name=name,
                marker={"color": color, "pattern": {"shape": pattern}},
                customdata=[
                    [layer.name, format_bytes(value)]
                    for layer, value in zip(layers, values, strict=True)
                ],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]}",
            )
        )
    y = unit_title("KiB", log=log)
    styled(figure, title="Layer by layer", x="trained layer", y=y, log_y=log)
    figure.update_layout(
        barmode="group", hovermode="closest", bargap=0.25, uirevision=f"layers {log}"
    )
    return figure.update_xaxes(dtick=max(1, len(layers) // 8), tick0=1)


def plot_growth(
    batch_sizes: Sequence[int],
    input_bytes: Sequence[int],
    weight_bytes: int,
    chosen: int,
    *,
    log: bool = False,
) -> go.Figure:
    """Kept inputs over the batch size, and the constant weights; `log` for both axes."""
    figure = go.Figure()
    for name, color, dash, values in (
        ("kept inputs", INPUTS, "solid", input_bytes),
        ("weights", WEIGHTS, "dash", [weight_bytes] * len(batch_sizes)),
    ):
        figure.add_trace(
            go.Scatter(
                x=list(batch_sizes),
                y=[value / MIB for value in values],
                name=name,
                mode="lines",
                line={"color": color, "dash": dash, "width": 3},
                customdata=[format_bytes(value) for value in values],
                hovertemplate="%{customdata}",
            )
        )
    at = input_bytes[list(batch_sizes).index(chosen)]
    figure.add_trace(
        go.Scatter(
            x=[chosen],
            y=[at / MIB],
            name=f"batch {chosen}: {three_digits(at / weight_bytes)}{THIN_SPACE}×",
            mode="markers",
            marker={"color": INPUTS, "size": 14, "symbol": "diamond"},
            hoverinfo="skip",
        )
    )
    x, y = (unit_title(name, log=log) for name in ("batch size", "MiB"))
    styled(figure, title="Batch by batch", x=x, y=y, log_y=log)
    figure.update_layout(uirevision=f"growth {log}")
    if log:
        ticks = list(batch_sizes)
        log_axis(figure, "x", dtick=None).update_xaxes(tickvals=ticks, ticktext=[*map(str, ticks)])
    return figure
