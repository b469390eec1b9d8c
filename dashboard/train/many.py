"""Many runs of a comparison: a table, in place of a card for each, and one picture."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.results.outcomes import test_images
from asi_core.runs.records import RunRecord
from asi_core.units import DASH, by_formula, format_bytes, format_seconds, less_or_more, signed
from dashboard.feed import RunFeed
from dashboard.frame import percent
from dashboard.history import run_labels
from dashboard.tables import table
from dashboard.train.cards import time_left
from dashboard.train.differences import Difference, difference
from dashboard.train.references import head_of, vanilla_of

# With more runs than this, cards would fill several screens.
MOST_CARDS = 6


def runs_at_a_glance(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    """Draw a table with one row per run; names stay in view."""
    labels = run_labels(runs)
    rows = [
        _row(run, feed, label, runs, feeds)
        for run, feed, label in zip(runs, feeds, labels, strict=True)
    ]
    table(
        pd.DataFrame(rows),
        key="train-runs",
        caption="Accuracy, saved bytes and times are measured; kept bytes are by formula.",
        column_config={
            "run": st.column_config.TextColumn(pinned=True),
            "progress": st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent"),
        },
        height="content" if len(rows) <= 20 else 740,
    )


def _gain(gained: Difference, run: RunRecord) -> str:
    tie = ", a tie" if gained.is_tie(test_images(run)) else ""
    # Without a plus, which tables quote: spreadsheets would read it as a formula.
    return f"{signed(gained.points).removeprefix('+')} points{tie}"


def _row(
    run: RunRecord,
    feed: RunFeed,
    label: str,
    runs: list[RunRecord],
    feeds: list[RunFeed],
) -> dict[str, Any]:
    head, vanilla = head_of(runs, run), vanilla_of(runs, run)
    gained = difference(feed, None if head is None else feeds[head])
    kept, full = feed.mean("activation_bytes"), None
    if vanilla is not None:
        full = feeds[vanilla].mean("activation_bytes")
    saved = feed.mean("saved_bytes")
    left = time_left(run, feed, time.time()) if run.status == "running" else None
    return {
        "run": label,
        "state": run.status,
        "progress": feed.last_step / run.spec.steps,
        "left": DASH if left is None else format_seconds(left),
        "accuracy": percent(feed.evaluations[-1]["accuracy"]) if feed.evaluations else DASH,
        "over the linear probe": DASH if gained is None else _gain(gained, run),
        "kept": by_formula(kept, format_bytes) if feed.steps else DASH,
        "against vanilla": less_or_more(kept, full) if kept and full else DASH,
        "saved for backward": DASH if saved is None else format_bytes(saved),
        "step time": format_seconds(feed.median_step) if feed.steps else DASH,
    }
