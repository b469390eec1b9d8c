"""Figures of a layer's singular values, mode by mode, with the cut of each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from asi_core.figures.shades import shaded
from asi_core.figures.style import STYLES, styled
from asi_core.units import THIN_SPACE, three_digits

MODE_NAMES = ("batch", "channel", "height", "width")
Axes = Literal["log", "linear"]

_SPECTRUM = "#56B4E9"
# Below this number, values are drawn one by one, on an axis of integers.
_FEW = 12
# Height in pixels of a figure without a legend, and of a legend line in a narrow window.
_HEIGHT, _LEGEND_LINE = 300, 19


@dataclass(frozen=True, slots=True)
class SpectrumRows:
    """Singular values of one layer's input, one descending list per mode."""

    shape: tuple[int, ...]
    singular_values: Sequence[Sequence[float]]
    mode_names: Sequence[str] = MODE_NAMES


@dataclass(frozen=True, slots=True)
class Cut:
    """The ranks that a run used, one per mode; `style` is a key into `STYLES`."""

    label: str
    style: str
    ranks: Sequence[int]


def plot_singular_values(
    spectrum: SpectrumRows, mode: int, cuts: Sequence[Cut], axes: Axes = "log"
) -> go.Figure:
    """One mode's singular values, as shares of the largest, with each method's cut.

    Zero values cannot be drawn on a logarithmic axis and are left out.
    """
    values = np.asarray(spectrum.singular_values[mode], dtype=float)
    shares = values / values[0] if values[0] > 0 else values
    drawn = [float(share) if share > 0 or axes == "linear" else None for share in shares]
    figure = _mode_figure(spectrum, mode, drawn, cuts)
    lowest = min((share for share in drawn if share), default=0.1) if axes == "log" else 0.0
    _mark_cuts(figure, mode, cuts, [share or lowest for share in drawn], lowest)
    _frame(figure, spectrum, mode, axes, len(cuts), y="share of the largest")
    if axes == "log":
        # Powers of ten alone would leave an axis of less than a decade without labels.
        figure.update_yaxes(type="log", dtick=1 if lowest < 0.1 else "L0.2")
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def plot_explained_energy(
    spectrum: SpectrumRows,
    mode: int,
    cuts: Sequence[Cut],
    axes: Axes = "log",
    share: float | None = None,
) -> go.Figure:
    """Energy that one mode's first singular values explain, with each method's cut.

    Args:
        share: of the energy, 0 to 1, at which to draw a horizontal line.
    """
    explained = explained_percent(spectrum.singular_values[mode])
    figure = _mode_figure(spectrum, mode, explained.tolist(), cuts)
    _mark_cuts(figure, mode, cuts, explained.tolist(), 0.0)
    if share is not None:
        # A shape and not a trace: it spans the width and has no hover.
        figure.add_hline(y=100 * share, line={"color": "#8A8A8A", "dash": "dot", "width": 1.5})
    _frame(figure, spectrum, mode, axes, len(cuts), y="energy explained, %")
    return figure.update_yaxes(range=[0, 104])


def plot_spectra(spectrum: SpectrumRows, cuts: Sequence[Cut]) -> go.Figure:
    """Energy that the first r singular values explain, all modes in one figure, two in a row.

    Args:
        cuts: one line for each method's cut.
    """
    count = len(spectrum.shape)
    titles = [_mode_title(spectrum, mode) for mode in range(count)]
    figure = make_subplots(
        rows=-(-count // 2),
        cols=2,
        subplot_titles=titles,
        shared_yaxes=True,
        horizontal_spacing=0.08,
        vertical_spacing=0.2,
    )
    for mode in range(count):
        explained = explained_percent(spectrum.singular_values[mode])
        place = {"row": mode // 2 + 1, "col": mode % 2 + 1}
        figure.add_trace(_curve(explained.tolist()), **place)
        for trace in _cut_traces(mode, cuts, explained.tolist(), 0.0):
            figure.add_trace(trace.update(showlegend=mode == 0), **place)
        figure.update_xaxes(type=None if spectrum.shape[mode] < _FEW else "log", dtick=1, **place)
        figure.update_xaxes(title_text="rank" if mode >= count - 2 else None, **place)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(title_text="energy, %", range=[0, 104], col=1)
    return figure.update_layout(
        title={"text": "Spectra of the chosen layer's input (measured)", "x": 0},
        height=520,
        margin={"l": 8, "r": 8, "t": 70, "b": 8},
        legend={"orientation": "h", "y": -0.14, "x": 0},
        uirevision="keep",
    )


def explained_percent(values: Sequence[float]) -> NDArray[np.float64]:
    """Percent of the energy in the first 1, 2, ... singular values; 100 if there is no energy."""
    energy = np.cumsum(np.square(np.asarray(values, dtype=float)))
    return 100 * energy / energy[-1] if energy[-1] > 0 else np.full(len(energy), 100.0)


def _mode_figure(
    spectrum: SpectrumRows, mode: int, drawn: Sequence[float | None], cuts: Sequence[Cut]
) -> go.Figure:
    explained = explained_percent(spectrum.singular_values[mode])
    curve = _curve(drawn)
    curve.customdata = [
        f"rank {rank} of {len(explained)}: {value:.1f}{THIN_SPACE}% of the energy"
        for rank, value in enumerate(explained, start=1)
    ]
    curve.hovertemplate = "%{customdata}<extra></extra>"
    return go.Figure(curve)


def _curve(drawn: Sequence[float | None]) -> go.Scatter:
    return go.Scatter(
        x=list(range(1, len(drawn) + 1)),
        y=list(drawn),
        name="spectrum",
        mode="lines+markers" if len(drawn) < _FEW else "lines",
        line={"color": _SPECTRUM, "width": 2.5},
        hovertemplate="rank %{x}: %{y:.1f} %<extra></extra>",
        showlegend=False,
    )


def _mark_cuts(
    figure: go.Figure, mode: int, cuts: Sequence[Cut], curve: Sequence[float], floor: float
) -> None:
    figure.add_traces(_cut_traces(mode, cuts, curve, floor))


def _cut_traces(
    mode: int, cuts: Sequence[Cut], curve: Sequence[float], floor: float
) -> list[go.Scatter]:
    """A line from the axis to the curve at each method's rank, shaded if methods repeat."""
    traces = [_cut_trace(cut, mode, curve, floor) for cut in cuts]
    apart = go.Figure(traces, layout={"height": _HEIGHT})
    return list(shaded(apart, [cut.style for cut in cuts], [cut.label for cut in cuts]).data)


def _cut_trace(cut: Cut, mode: int, curve: Sequence[float], floor: float) -> go.Scatter:
    style, rank = STYLES[cut.style], cut.ranks[mode]
    message = f"{cut.label}: rank {three_digits(rank)}"
    return go.Scatter(
        x=[rank, rank],
        y=[floor, curve[min(rank, len(curve)) - 1]],
        mode="lines+markers",
        name=cut.label,
        legendgroup=cut.label,
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": [0, 10], "color": style.color},
        hovertemplate=f"{message}<extra></extra>",
    )


def _frame(
    figure: go.Figure, spectrum: SpectrumRows, mode: int, axes: Axes, entries: int, *, y: str
) -> None:
    styled(figure, title=_mode_title(spectrum, mode), x="rank", y=y)
    figure.update_layout(hovermode="closest", height=_HEIGHT + _LEGEND_LINE * entries)
    if len(spectrum.singular_values[mode]) < _FEW:
        figure.update_xaxes(dtick=1)
    elif axes == "log":
        figure.update_xaxes(type="log", dtick=1)


def _mode_title(spectrum: SpectrumRows, mode: int) -> str:
    return f"{spectrum.mode_names[mode]} ({three_digits(spectrum.shape[mode])})"
