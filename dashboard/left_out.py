"""Runs that cannot be drawn: named, with the reason, and left out of what is."""

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
    """The runs that can be drawn, and what was read of each."""
    feeds, wait = services.feeds(), slowness()
    read = [(run, feeds.of(run, wait)) for run in runs]
    sound = [(run, feed) for run, feed in read if feed.problem is None]
    return [run for run, _ in sound], [feed for _, feed in sound]


def left_out_of(comparison: str, runs: Sequence[RunRecord]) -> list[str]:
    """What each run of a comparison is called that cannot be drawn, and why.

    Args:
        runs: those of its runs whose specification can be read.
    """
    message = [f"{left.id} ({left.reason})" for left in services.store().unreadable(comparison)]
    for run in runs:
        if (problem := services.feeds().of(run, slowness()).problem) is not None:
            message.append(f"{run_label(run)} {run.id} ({problem})")
    return message


def names_of(left_out: Iterable[LeftOut]) -> list[str]:
    """As `left_out_of`."""
    return [f"{left.id} ({left.reason})" for left in left_out]


def left_out_sentence(message: Sequence[str]) -> str:
    """Which runs are left out, in one sentence without markup; empty if none is."""
    if not message:
        return ""
    named = "; ".join(message[:_MOST_NAMED])
    more = f"; and {len(message) - _MOST_NAMED} more" if len(message) > _MOST_NAMED else ""
    runs = "1 run is" if len(message) == 1 else f"{len(message)} runs are"
    return f"{runs} left out, with values that no run can have: {named}{more}."


def tell_left_out(message: Sequence[str]) -> None:
    """Say which runs are left out; nothing if none is."""
    if sentence := left_out_sentence(message):
        st.warning(plain(sentence))
