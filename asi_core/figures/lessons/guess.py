"""A guess, or those of a class, compared with the true value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from asi_core.figures.style import log_axis, styled, unit_title
from asi_core.units import THIN_SPACE, format_bytes, three_digits

GUESS, TRUTH = "#AA4499", "#009988"
# Labels of a log axis of ranks, few enough for a phone.
RANK_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# Possible guesses in one bar of a histogram, and the most bars.
_BAR_WIDTHS, _MOST_BARS = (1, 2, 5, 10, 20, 50, 100), 25


@dataclass(frozen=True, slots=True)
class GuessBar:
    """A bar of a histogram: its lowest and highest guess, and how many guesses it counts."""

    low: float
    high: float
    count: int


def guess_bars(
    guesses: Sequence[float], span: tuple[float, float], step: float
) -> tuple[GuessBar, ...]:
    """A histogram of guesses over `span`: at most 25 bars of equally many possible guesses; the
    last has up to half as many more or fewer.

    Args:
        span: the lowest and the highest possible guess.
        step: between neighbouring possible guesses; others count as the nearest.

    Example:
        >>> guess_bars([1, 2, 2], (1, 3), 1)[1]
        GuessBar(low=2, high=2, count=2)
    """
    low, last = span[0], round((span[1] - span[0]) / step)
    width = next((w for w in _BAR_WIDTHS if (last + 1) <= w * _MOST_BARS), _BAR_WIDTHS[-1])
    starts = range(0, width * max(1, round((last + 1) / width)), width)
    counts = [0] * len(starts)
    for guess in guesses:
        number = min(max(round((guess - low) / step), 0), last)
        counts[min(number // width, len(starts) - 1)] += 1
    ends = [*(start - 1 for start in starts[1:]), last]
    return tuple(
        GuessBar(low + start * step, low + end * step, count)
        for start, end, count in zip(starts, ends, counts, strict=True)
    )


def plot_guesses(
    guesses: Sequence[float],
    truth: float | None,
    *,
    unit: str,
    span: tuple[float, float],
    step: float,
) -> go.Figure:
    """The guesses of a class as a histogram, with the true value marked if it is given.

    Args:
        span, step: as in `guess_bars`; the axis is extended if the true value lies outside.
    """
    bars = guess_bars(guesses, span, step)
    figure = go.Figure(
        go.Bar(
            x=[(bar.low + bar.high) / 2 for bar in bars],
            y=[bar.count for bar in bars],
            width=[0.92 * (bar.high - bar.low + step) for bar in bars],
            marker={"color": GUESS},
            text=[bar.count or "" for bar in bars],
            textposition="outside",
            constraintext="none",
            cliponaxis=False,
            customdata=[_bar_text(bar, unit) for bar in bars],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    most = max(bar.count for bar in bars)
    if truth is not None:
        figure.add_vline(x=truth, line={"color": TRUTH, "width": 4})
        figure.add_annotation(
            x=truth,
            y=1.0,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text=f"<b>{three_digits(truth)}{THIN_SPACE}{unit}</b>",
            font={"color": TRUTH, "size": 16},
        )
    styled(figure, title="All guesses", x=unit, y="guesses")
    low, high = min(span[0], truth or span[0]), max(span[1], truth or span[1])
    margin = 0.04 * (high - low)
    figure.update_layout(hovermode="closest", height=280, margin={"t": 56}, uirevision="guesses")
    figure.update_xaxes(range=[low - margin, high + margin], title_standoff=4)
    return figure.update_yaxes(
        range=[0, 1.15 * max(most, 4)], dtick=max(1, round(max(most, 4) / 4)), rangemode="tozero"
    )


def _bar_text(bar: GuessBar, unit: str) -> str:
    ends = dict.fromkeys((three_digits(bar.low), three_digits(bar.high)))
    return f"{' to '.join(ends)}{THIN_SPACE}{unit}: {bar.count}"


def plot_guess(
    guess: float, truth: float, *, title: str, unit: str, span: tuple[float, float]
) -> go.Figure:
    """Both on an axis over `span`, extended if the true value lies outside."""
    figure = go.Figure()
    low, high = min(span[0], truth), max(span[1], truth)
    figure.add_trace(
        go.Scatter(
            x=[guess, truth],
            y=[0, 0],
            mode="lines",
            line={"color": "#8C8C8C", "width": 3},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for name, value, color, symbol, place in (
        ("your guess", guess, GUESS, "circle-open", "bottom center"),
        ("the truth", truth, TRUTH, "diamond", "top center"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[value],
                y=[0],
                mode="markers+text",
                marker={
                    "color": color,
                    "symbol": symbol,
                    "size": 17,
                    "line": {"width": 3, "color": color},
                },
                text=[f"{three_digits(value)}{THIN_SPACE}{unit}"],
                textposition=place,
                textfont={"size": 15},
                cliponaxis=False,
                name=name,
                hovertemplate="%{text}",
            )
        )
    margin = 0.08 * (high - low)
    styled(figure, title=title, x=unit, y="")
    figure.update_layout(height=240, hovermode="closest", legend={"y": -0.5})
    figure.update_xaxes(range=[low - margin, high + margin])
    return figure.update_yaxes(visible=False, range=[-1, 1])


def plot_guessed_ratio(
    guess: float, truth: float, base: float, *, base_name: str, log: bool = False
) -> go.Figure:
    """A guessed and a true multiple of a known number of bytes, as bars."""
    rows = [
        (base_name, base, "#8C8C8C"),
        ("your guess", guess * base, GUESS),
        ("the truth", truth * base, TRUTH),
    ]
    figure = go.Figure()
    for name, value, color in reversed(rows):
        figure.add_trace(
            go.Bar(
                x=[value / 2**20],
                y=[name],
                orientation="h",
                name=name,
                marker={"color": color},
                text=[f"{format_bytes(value)}, {three_digits(value / base)}{THIN_SPACE}×"],
                textposition="auto",
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    title = "Your guess and the truth"
    styled(figure, title=title, x=unit_title("MiB", log=log), y="")
    figure.update_layout(hovermode="closest", height=260, uirevision=f"guess {log}")
    return log_axis(figure, "x", dtick=None) if log else figure


def plot_guessed_rank(
    values: Sequence[float], guess: float, truth: float, share: float
) -> go.Figure:
    """Energy explained by the first r singular values, with the guessed and the true cut.

    Args:
        values: singular values, descending.
        share: of the energy that the ranks must explain, 0 to 1.
    """
    energy = np.cumsum(np.square(values))
    explained = (100 * energy / energy[-1]).tolist()
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=explained,
            mode="lines",
            line={"color": "#8C8C8C", "width": 2.5},
            name="energy explained",
            hovertemplate="rank %{x}: %{y:.1f} %",
        )
    )
    for name, rank, color, symbol in (
        ("your guess", guess, GUESS, "circle-open"),
        ("the truth", truth, TRUTH, "diamond"),
    ):
        reached = explained[round(rank) - 1]
        figure.add_trace(
            go.Scatter(
                x=[rank, rank],
                y=[0, reached],
                mode="lines+markers",
                line={"color": color, "width": 3},
                marker={"symbol": symbol, "size": [0, 14], "line": {"width": 3, "color": color}},
                name=f"{name}: {three_digits(rank)}",
                hovertemplate=f"{reached:.1f} %",
            )
        )
    figure.add_hline(y=100 * share, line={"color": "#8C8C8C", "dash": "dot", "width": 1.5})
    styled(figure, title="Your guess and the truth", x="rank, log scale", y="energy explained, %")
    figure.update_layout(hovermode="closest")
    return figure.update_xaxes(type="log", tickvals=RANK_TICKS).update_yaxes(range=[0, 104])
