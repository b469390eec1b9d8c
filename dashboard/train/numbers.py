"""All numbers of a comparison as a table with a download."""

from __future__ import annotations

from typing import Any

import pandas as pd

from asi_core.results.outcomes import left_out
from asi_core.runs.records import RunRecord
from dashboard.feed import RunFeed
from dashboard.frame import drawer
from dashboard.history import run_labels
from dashboard.tables import table
from dashboard.train.differences import difference
from dashboard.train.references import head_of


def numbers_table(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    """An expander with one row per run; nothing is computed while it is closed."""
    with drawer("All numbers", icon=":material/table_rows:", key="train-numbers") as panel:
        if panel.open:
            table(
                number_rows(runs, feeds),
                key="train-comparison",
                caption="Measured: accuracies (balanced if test classes differ much in size), "
                "saved bytes, the peak of one step and seconds (medians over steps). Formula: "
                "activation bytes and multiply-accumulates (means over steps with a whole batch).",
            )


def number_rows(runs: list[RunRecord], feeds: list[RunFeed]) -> pd.DataFrame:
    """One row per run, in base units; unknown values are empty."""
    labelled = zip(runs, feeds, run_labels(runs), strict=True)
    return pd.DataFrame(
        _row(run, feed, label, None if (head := head_of(runs, run)) is None else feeds[head])
        for run, feed, label in labelled
    )


def _row(run: RunRecord, feed: RunFeed, label: str, head: RunFeed | None) -> dict[str, Any]:
    gained = difference(feed, head)
    last = feed.evaluations[-1] if feed.evaluations else {}
    row: dict[str, Any] = {
        "run": label,
        "state": run.status,
        "steps": feed.last_step,
        "test_accuracy": last.get("accuracy"),
        "balanced_accuracy": last.get("balanced_accuracy"),
        "damaged_images_left_out": left_out(run),
        "points_over_linear_probe": None if gained is None else gained.points,
        "both_at_step": None if gained is None else gained.step,
    }
    means = ("activation_bytes", "saved_bytes", "forward_macs", "overhead_macs", "backward_macs")
    medians = ("forward_seconds", "backward_seconds", "update_seconds")
    for name in means:
        row[name] = feed.mean(name) if feed.steps else None
    row["step_peak_bytes"] = None if feed.timeline is None else feed.timeline.timeline.peak.nbytes
    for name in medians:
        row[name] = feed.median(name) if feed.steps else None
    return row
