"""Runs that cannot be drawn: they are left out and named, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st

from asi_core.runs.records import LeftOut, RunRecord
from dashboard import services
from dashboard.audience import slowness
from dashboard.feed import RunFeed, run_label
from dashboard.plain import plain

_MOST_NAMED = 5


def drawable(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunFeed]]:
    """The runs that can be drawn, and the feed of each."""
    feeds, wait = services.feeds(), slowness()
    read = [(run, feeds.of(run, wait)) for run in runs]
    sound = [(run, feed) for run, feed in read if feed.problem is None]
    return [run for run, _ in sound], [feed for _, feed in sound]


def left_out_of(comparison: str, runs: Sequence[RunRecord]) -> list[str]:
    """The names of a comparison's runs that cannot be drawn, each with the reason; `runs` are those
    whose specification can be read."""
    message = names_of(services.store().unreadable(comparison))
    for run in runs:
        if (problem := services.feeds().of(run, slowness()).problem) is not None:
            message.append(f"{run_label(run)} {run.id} ({problem})")
    return message


def names_of(left_out: Iterable[LeftOut]) -> list[str]:
    """The ids of runs that cannot be read, each with the reason."""
    return [f"{left.id} ({left.reason})" for left in left_out]


def left_out_sentence(message: Sequence[str]) -> str:
    """One sentence without markup that names the runs left out; empty if there are none."""
    if not message:
        return ""
    named = "; ".join(message[:_MOST_NAMED])
    more = f"; and {len(message) - _MOST_NAMED} more" if len(message) > _MOST_NAMED else ""
    runs = "1 run is" if len(message) == 1 else f"{len(message)} runs are"
    return f"{runs} left out because of invalid values: {named}{more}."


def tell_left_out(message: Sequence[str]) -> None:
    """Show which runs are left out, if any."""
    if sentence := left_out_sentence(message):
        st.warning(plain(sentence))
