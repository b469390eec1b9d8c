"""Where the memory goes: weights and inputs, by layer and by batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.style import log_axis, styled, unit_title
from asi_core.units import KIB, MIB, THIN_SPACE, format_bytes, three_digits

INPUTS, WEIGHTS = "#0077BB", "#B5891A"
# Kinds of saved tensors, from what ASI compresses to the rest.
_KINDS = ("#0077BB", "#66A9D1", "#997700", "#C9A24A", "#994455", "#C98A95", "#8C8C8C")


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


def plot_categories(measured: Mapping[str, Mapping[str, int]]) -> go.Figure:
    """Everything that a step saves for backward, one bar per method, stacked by kind (linear, MiB).

    Args:
        measured: method label -> kind -> bytes.
    """
    kinds = list(dict.fromkeys(kind for row in measured.values() for kind in row))
    kept = [kind for kind in kinds if any(row.get(kind) for row in measured.values())]
    figure = go.Figure()
    for number, kind in enumerate(kept):
        values = [row.get(kind, 0) for row in measured.values()]
        figure.add_trace(
            go.Bar(
                x=[value / MIB for value in values],
                y=list(measured),
                orientation="h",
                name=kind,
                marker={"color": _KINDS[number % len(_KINDS)]},
                customdata=[format_bytes(value) for value in values],
                hovertemplate=f"{kind}: %{{customdata}}<extra></extra>",
            )
        )
    styled(figure, title="Saved for backward in one step (measured)", x="MiB", y="")
    figure.update_layout(
        barmode="stack", hovermode="closest", legend={"y": -0.3, "traceorder": "normal"}
    )
    return figure.update_yaxes(autorange="reversed")
