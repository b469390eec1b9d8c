"""The live view of a comparison: the answer, a card for each run, and the curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Literal, NamedTuple

import streamlit as st

from asi_core.figures.curves import (
    RunRows,
    plot_accuracy,
    plot_cost,
    plot_loss,
    plot_memory,
    plot_step_time,
)
from asi_core.figures.shades import shaded
from asi_core.figures.style import Figure
from asi_core.methods import ASI
from asi_core.runs.records import RunRecord
from asi_core.units import format_bytes, less_or_more, signed, three_digits, times
from dashboard import frame, services
from dashboard.audience import slowness
from dashboard.drawings import drawings
from dashboard.feed import RunFeed, run_style
from dashboard.history import run_labels
from dashboard.left_out import drawable, left_out_of, tell_left_out
from dashboard.train.cards import cancel_all_button, run_cards
from dashboard.train.differences import difference
from dashboard.train.lengthening import lengthen_panel
from dashboard.train.many import MOST_CARDS, runs_at_a_glance
from dashboard.train.numbers import numbers_table
from dashboard.train.references import vanilla_of
from dashboard.train.spectra import layer_spectra
from dashboard.train.step_memory import recorded_steps

Phase = Literal["waiting", "active", "ended"]

Plot = Callable[[Sequence[RunRows]], Figure]

_WAITING = "Waiting for the first step …"
_MEMORY = (
    "Formula: the trained layers' inputs as they are kept for the weight gradient. Measured: all "
    "bytes that PyTorch saves for backward in the trained part, little of it beside those inputs "
    "if layers are lean (see Recipe)."
)


def live_comparison(comparison: str) -> None:
    """Show a comparison, and update it while any of its runs is active.

    Expensive parts are redrawn less often: browser and worker may share two cores.
    """
    runs, feeds = _read(comparison)
    tell_left_out(left_out_of(comparison, services.store().comparison(comparison)))
    if not runs:
        return
    drawn = Drawn(_phase(runs, feeds), slowness())
    parts = ((_answer_part, 1.0), (_curves_part, 3.0), (_cards_part, 1.0), (_details_part, 6.0))
    for part, seconds in parts:
        every = None if drawn.phase == "ended" else seconds * drawn.slowness
        st.fragment(part, run_every=every)(comparison, drawn)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The state for which the whole page was drawn; `slowness` as in `audience`."""

    phase: Phase
    slowness: float


def _answer_part(comparison: str, drawn: Drawn) -> None:
    runs, feeds = _read(comparison)
    # Redrawing the whole page is expensive: only after a large change of the audience.
    many_came_or_went = not drawn.slowness / 2.5 <= slowness() <= drawn.slowness * 2.5
    if _phase(runs, feeds) != drawn.phase or many_came_or_went:
        # The first point and the end are shown at once, not at the next redraw of their part.
        st.rerun()
    frame.answer(answer(runs, feeds))


def _cards_part(comparison: str, drawn: Drawn) -> None:
    runs, feeds = _read(comparison)
    cancel_all_button(runs)
    lengthen_panel(runs)
    draw = run_cards if len(runs) <= MOST_CARDS else runs_at_a_glance
    draw(runs, feeds)


def _curves_part(comparison: str, drawn: Drawn) -> None:
    runs, feeds = _read(comparison)
    if len(runs) > MOST_CARDS:
        _charts(runs, feeds, {"accuracy": _ACCURACY})
        return
    place = st.container()
    log = frame.axis_control("the memory")
    memory = _Chart(partial(plot_memory, log=log), _MEMORY, partial(plot_memory, log=not log))
    with place:
        name = "memory-log" if log else "memory"
        _charts(runs, feeds, {"accuracy": _ACCURACY, name: memory})


def _details_part(comparison: str, drawn: Drawn) -> None:
    runs, feeds = _read(comparison)
    if len(runs) > MOST_CARDS:
        numbers_table(runs, feeds)
        return
    _charts(
        runs,
        feeds,
        {
            "loss": _Chart(_distinguished(plot_loss), "Measured on the training batches."),
            "cost": _Chart(
                plot_cost,
                "Formula: the multiply-accumulates that the code executes on the trained layers.",
            ),
            "time": _Chart(
                plot_step_time,
                "Measured: the median step of the trained part, split in the proportions of all "
                "steps together.",
            ),
        },
    )
    recorded_steps(runs, feeds)
    layer_spectra(runs, feeds)
    numbers_table(runs, feeds)


def _read(comparison: str) -> tuple[list[RunRecord], list[RunFeed]]:
    return drawable(services.store().comparison(comparison))


def _phase(runs: list[RunRecord], feeds: list[RunFeed]) -> Phase:
    if not any(run.is_active for run in runs):
        return "ended"
    return "active" if any(feed.steps for feed in feeds) else "waiting"


def _draw(plot: Plot, runs: list[RunRecord], feeds: list[RunFeed]) -> Figure:
    named = zip(runs, feeds, run_labels(runs), strict=True)
    return plot([feed.rows(run, label) for run, feed, label in named])


def answer(runs: list[RunRecord], feeds: list[RunFeed]) -> str:
    """The comparison in one sentence, as far as it is known."""
    known = [
        pair
        for place, run in enumerate(runs)
        if run_style(run) == ASI.class_kind()
        and (vanilla := vanilla_of(runs, run)) is not None
        and (pair := _pair(feeds[place], feeds[vanilla])) is not None
    ]
    if not known:
        if any(run.is_active for run in runs):
            begun = any(feed.steps for feed in feeds)
            return "The curves below grow as the runs proceed." if begun else _WAITING
        return "This comparison has no pair of ASI and vanilla; see the runs below."
    return _one_pair(known[0]) if len(known) == 1 else _many_pairs(known)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A run of ASI and its vanilla reference; bytes by formula."""

    asi: RunFeed
    vanilla: RunFeed
    kept: float
    full: float

    @property
    def times_less(self) -> float:
        return self.full / self.kept


def _pair(asi: RunFeed, vanilla: RunFeed) -> _Pair | None:
    kept, full = asi.mean("activation_bytes"), vanilla.mean("activation_bytes")
    return _Pair(asi, vanilla, kept, full) if kept and full else None


def _one_pair(pair: _Pair) -> str:
    sentence = (
        f"ASI keeps {format_bytes(pair.kept)} where vanilla keeps {format_bytes(pair.full)}: "
        f"{less_or_more(pair.kept, pair.full)}"
    )
    if (reached := difference(pair.asi, pair.vanilla)) is None:
        return sentence + "."
    return (
        f"{sentence}, at {frame.percent(reached.accuracy)} test accuracy against "
        f"{frame.percent(reached.reference)}, both after {reached.step} steps."
    )


def _many_pairs(pairs: Sequence[_Pair]) -> str:
    ratios = [pair.times_less for pair in pairs]
    sentence = (
        f"In {len(pairs)} runs ASI keeps {three_digits(min(ratios))} to {times(max(ratios))} "
        "less than vanilla with the same settings"
    )
    found = [difference(pair.asi, pair.vanilla) for pair in pairs]
    points = [one.points for one in found if one is not None]
    if not points:
        return sentence + "."
    return (
        f"{sentence}; its test accuracy is {signed(min(points))} to {signed(max(points))} points "
        "from vanilla's after the same number of steps."
    )


def _distinguished(plot: Plot) -> Plot:
    """The same figure, with different shades for runs of the same method."""

    @wraps(plot)
    def drawn(rows: Sequence[RunRows]) -> Figure:
        styles = [row.style for row in rows]
        if len(set(styles)) == len(styles):
            return plot(rows)
        return shaded(plot(rows), styles, [row.label for row in rows])

    return drawn


class _Chart(NamedTuple):
    """A figure of all runs, its caption, and the same on the other axis if that can be chosen."""

    plot: Plot
    caption: str
    other_axis: Plot | None = None


_ACCURACY = _Chart(_distinguished(plot_accuracy), "Measured on all test images.")


def _charts(runs: list[RunRecord], feeds: list[RunFeed], charts: Mapping[str, _Chart]) -> None:
    shown = tuple((run.id, feed.version) for run, feed in zip(runs, feeds, strict=True))
    for column, (name, chart) in zip(st.columns(len(charts)), charts.items(), strict=True):
        with column:
            drawing = drawings.get((name, shown), partial(_draw, chart.plot, runs, feeds))
            other = chart.other_axis
            frame.figure(
                drawing,
                other_axis=None if other is None else partial(_draw, other, runs, feeds),
                key=f"train-{name.removesuffix('-log')}",
                caption=chart.caption,
            )
