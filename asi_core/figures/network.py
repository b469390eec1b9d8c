"""A network as bars: what each of its layers keeps, in forward order, if it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from asi_core.figures.style import Drawing, styled, unit_title
from asi_core.units import KIB, MIB, format_bytes

TRAINED, FROZEN = "#0072B2", "#B8BEC5"
_HEIGHT = 250


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """A layer that can be trained: its name, the bytes of its input, and whether it is trained."""

    name: str
    kept_bytes: int
    is_trained: bool


def draw_network(layers: Sequence[NetworkLayer], *, title: str, log: bool = False) -> Drawing:
    """One bar per layer in forward order. Trained layers are in colour, frozen ones grey, with what
    they would keep; `customdata` of a bar is its place, from 0."""
    counts = {True: 0, False: 0}
    for layer in layers:
        counts[layer.is_trained] += layer.kept_bytes
    most = max((layer.kept_bytes for layer in layers), default=0)
    unit, scale = ("MiB", MIB) if most >= 10 * MIB else ("KiB", KIB)
    data = [
        _bars(layers, scale, is_trained=True, name=f"trained: {format_bytes(counts[True])} kept"),
    ]
    if counts[False]:
        data.append(_bars(layers, scale, is_trained=False, name="frozen: nothing kept"))
    data.append(_columns(layers, most / scale))
    figure = styled(
        go.Figure(),
        title=title,
        x="layer, in forward order",
        y=unit_title(unit, log=log),
        log_y=log,
    )
    figure.update_layout(
        hovermode="closest",
        height=_HEIGHT,
        barmode="overlay",
        bargap=0.15,
        uirevision=f"network {len(layers)} {unit} {log}",
        legend={"y": -0.35},
    )
    figure.update_xaxes(range=[0.4, len(layers) + 0.6], showgrid=False)
    figure.update_yaxes(separatethousands=True, exponentformat="none")
    return {"data": data, "layout": figure.to_plotly_json()["layout"]}


def _bars(
    layers: Sequence[NetworkLayer], scale: int, *, is_trained: bool, name: str
) -> dict[str, Any]:
    mine = [(place, layer) for place, layer in enumerate(layers) if layer.is_trained == is_trained]
    return {
        "type": "bar",
        "x": [place + 1 for place, _ in mine],
        "y": [layer.kept_bytes / scale for _, layer in mine],
        "name": name,
        "uid": "trained" if is_trained else "frozen",
        "marker": {
            "color": TRAINED if is_trained else FROZEN,
            "pattern": {"shape": "" if is_trained else "/", "fillmode": "overlay", "solidity": 0.2},
            "line": {"width": 0},
        },
        "hoverinfo": "skip",
    }


def _columns(layers: Sequence[NetworkLayer], height: float) -> dict[str, Any]:
    """An unseen bar over the whole height for each layer: many bars are too short to be hit."""
    return {
        "type": "bar",
        "x": list(range(1, len(layers) + 1)),
        "y": [height] * len(layers),
        "uid": "columns",
        "showlegend": False,
        "marker": {"color": "rgba(0, 0, 0, 0)", "line": {"width": 0}},
        "customdata": list(range(len(layers))),
        "hovertext": [_message(layer) for layer in layers],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _message(layer: NetworkLayer) -> str:
    what = "trained, keeps" if layer.is_trained else "frozen; trained, it would keep"
    return f"{layer.name}: {what} {format_bytes(layer.kept_bytes)}"
