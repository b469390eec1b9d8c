"""Figures of compression during a run: ranks, captured energy, drift, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from asi_core.figures.shades import shaded
from asi_core.figures.style import STYLES, styled
from asi_core.methods import HOSVD


@dataclass(frozen=True, slots=True)
class ProbedRun:
    """One layer of one run, probed several times.

    Attributes:
        style: key into `STYLES`.
        steps: the probed steps, ascending; all other rows have one entry for each.
        ranks: one per mode; None for a method without ranks.
        captured, best: shares of energy, 0 to 1, kept by the run and by HOSVD at the same ranks.
        cosines: between the weight gradient and the exact one.
        drift: degrees since the previous step, per mode.
    """

    label: str
    style: str
    steps: Sequence[int]
    ranks: Sequence[Sequence[int] | None]
    captured: Sequence[float | None]
    best: Sequence[float | None]
    cosines: Sequence[float | None]
    drift: Sequence[Sequence[float | None] | None]


def plot_ranks(runs: Sequence[ProbedRun], mode: int, mode_name: str) -> go.Figure:
    """The rank of one mode over the run; methods without ranks are left out."""
    values = [[_nth(ranks, mode) for ranks in run.ranks] for run in runs]
    figure = _lines(runs, values, "rank %{y}", f"Rank of the {mode_name} mode", "rank")
    return figure.update_yaxes(rangemode="tozero")


def plot_captured_energy(runs: Sequence[ProbedRun]) -> go.Figure:
    """Energy that each run keeps, and that HOSVD would keep at the same ranks."""
    kept = [_percent(run.captured) for run in runs]
    figure = _lines(runs, kept, "%{y:.1f} %", "Captured energy", "energy kept, %")
    twins = [
        (run, best)
        for run in runs
        if any(share is not None for share in run.best)
        and (best := _percent(run.best)) != _percent(run.captured)
    ]
    for number, (run, best) in enumerate(twins):
        figure.add_trace(_twin(run, best).update(showlegend=number == 0))
    return figure


def plot_drift(run: ProbedRun, mode_names: Sequence[str]) -> go.Figure:
    """The rotation of a run's subspaces since the previous step, per mode.

    The batch mode (0) is left out: every batch has new images, so its subspace always rotates.
    """
    figure = go.Figure()
    for mode, name in enumerate(mode_names):
        turned = [_nth(drift, mode) for drift in run.drift]
        if mode and any(degrees is not None for degrees in turned):
            figure.add_trace(_line(run, name, turned, "%{y:.1f}°"))
    styled(figure, title=f"Subspace drift per step ({run.label})", x="step", y="degrees")
    shaded(figure, [run.style] * len(figure.data), [trace.name for trace in figure.data])
    return figure.update_yaxes(rangemode="tozero")


def plot_gradient_cosine(runs: Sequence[ProbedRun]) -> go.Figure:
    """Cosine between the weight gradient in use and the exact one; 1 means the same direction."""
    values = [run.cosines for run in runs]
    return _lines(runs, values, "%{y:.3f}", "Weight gradient compared to the exact one", "cosine")


def _lines(
    runs: Sequence[ProbedRun],
    values: Sequence[Sequence[float | None]],
    hover: str,
    title: str,
    y: str,
) -> go.Figure:
    """One line for each run that has values."""
    known = [
        (run, row)
        for run, row in zip(runs, values, strict=True)
        if any(value is not None for value in row)
    ]
    figure = go.Figure([_line(run, run.label, row, hover) for run, row in known])
    styled(figure, title=title, x="step", y=y)
    return shaded(figure, [run.style for run, _ in known], [run.label for run, _ in known])


def _line(run: ProbedRun, name: str, values: Sequence[float | None], hover: str) -> go.Scatter:
    style = STYLES[run.style]
    return go.Scatter(
        x=list(run.steps),
        y=list(values),
        name=name,
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 2.5},
        marker={"symbol": style.symbol, "size": 8, "color": style.color},
        hovertemplate=hover,
        showlegend=True,
    )


def _twin(run: ProbedRun, best: Sequence[float | None]) -> go.Scatter:
    return go.Scatter(
        x=list(run.steps),
        y=list(best),
        name="HOSVD at the same ranks",
        legendgroup="twins",
        mode="lines",
        line={"color": STYLES[HOSVD.class_kind()].color, "dash": "dot", "width": 1.5},
        hovertemplate="%{y:.1f} %",
    )


def _nth(values: Sequence[float | None] | None, mode: int) -> float | None:
    return None if values is None else values[mode]


def _percent(shares: Sequence[float | None]) -> list[float | None]:
    return [None if share is None else 100 * share for share in shares]
