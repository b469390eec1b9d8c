"""All outcomes of the task as a table; selected rows are shown in detail below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.results.outcomes import Outcome, left_out
from asi_core.units import format_bytes, format_count, format_seconds, three_digits
from dashboard.compare.controls import View
from dashboard.compare.selection import select_rows
from dashboard.csv_files import harmless
from dashboard.frame import URL, percent
from dashboard.tables import below_table

# Column -> how its values are formatted; the file has them in base units.
_WRITTEN: dict[Any, str | Callable[[Any], str] | None] = {
    "accuracy": percent,
    "± points": three_digits,
    "balanced accuracy": percent,
    "damaged images left out": "{:.0f}",
    "activation memory (formula)": format_bytes,
    "saved for backward (measured)": format_bytes,
    "peak of a step (measured)": format_bytes,
    "MACs per step (formula)": lambda count: format_count(count, "MACs"),
    "step time (measured)": format_seconds,
    "started": lambda when: when.strftime("%d %b %Y %H:%M"),
}
_RARE = ("balanced accuracy", "damaged images left out")


def runs_table(view: View) -> None:
    """Draw the table with its download, and the errors of failed runs."""
    rows = _found(table_rows(view))
    labels = list(rows["run"])
    st.dataframe(
        harmless(rows).style.format(
            {n: how for n, how in _WRITTEN.items() if n in rows}, na_rep="–"
        ),
        key="runs-table",
        hide_index=True,
        column_config={"run": st.column_config.TextColumn(pinned=True)},
        placeholder="–",
        on_select=partial(select_rows, labels),
        selection_mode="multi-row",
        alt="Runs of the task with their settings, accuracy, memory, cost and state",
    )
    caption = (
        "Select rows for details below. Accuracy, bytes saved for backward and step times are "
        "measured; activation memory and MACs are computed by formula. ± is the sample standard "
        "deviation over seeds."
    )
    below_table(rows, "runs", caption)
    _tell_failures(view)


def _found(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all words of the search in them, in any of their texts."""
    text = st.text_input(
        "Search",
        key="search",
        placeholder="for example rank 4, failed, or the name of a comparison",
        help="Shows the runs of this task in whose row all of these words are found.",
        **URL,
    )
    return rows[rows.apply(lambda row: matches(row, text), axis=1)] if text.strip() else rows


def matches(row: pd.Series, text: str) -> bool:
    """Whether every word of `text` is in one of a row's texts."""
    words = " ".join(str(value) for value in row if isinstance(value, str)).casefold()
    return all(word in words for word in text.casefold().split())


def table_rows(view: View) -> pd.DataFrame:
    """One row per outcome, in base units; unknown values are missing."""
    rows = pd.DataFrame([_row(outcome, view.titles) for outcome in view.outcomes])
    # Few tasks have values in these columns.
    rows = rows.drop(columns=[name for name in _RARE if rows[name].isna().all()])
    numbers = [name for name in _WRITTEN if name in rows and name != "started"]
    return rows.astype(dict.fromkeys(numbers, float))


def _row(outcome: Outcome, titles: dict[str, str]) -> dict[str, Any]:
    deviation = outcome.measures["accuracy"].deviation if "accuracy" in outcome.measures else None
    started = outcome.runs[0].started_at
    return {
        "run": outcome.label,
        "layers": str(outcome.spec.layers),
        "seeds": ", ".join(map(str, outcome.seeds)),
        "accuracy": outcome.mean("accuracy"),
        "± points": None if deviation is None else 100 * deviation,
        "balanced accuracy": outcome.mean("balanced_accuracy"),
        "damaged images left out": max(map(left_out, outcome.runs)) or None,
        "activation memory (formula)": outcome.mean("activation_bytes"),
        "saved for backward (measured)": outcome.mean("saved_bytes"),
        "peak of a step (measured)": outcome.mean("peak_bytes"),
        "MACs per step (formula)": outcome.mean("macs"),
        "step time (measured)": outcome.mean("step_seconds"),
        "state": _state(outcome),
        "started": None if started is None else datetime.fromtimestamp(started),
        "comparison": ", ".join(dict.fromkeys(titles[run.comparison] for run in outcome.runs)),
    }


def _state(outcome: Outcome) -> str:
    counts = Counter(run.status for run in outcome.runs)
    if len(counts) == 1:
        return outcome.runs[0].status
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _tell_failures(view: View) -> None:
    failed = [
        (outcome.label, run)
        for outcome in view.outcomes
        for run in outcome.runs
        if run.status in ("failed", "interrupted")
    ]
    if not failed:
        return
    with st.expander(f"Failed and interrupted runs ({len(failed)})", icon=":material/error:"):
        for label, run in failed:
            # As plain text: the reason may contain Markdown characters.
            st.text(f"{label}, seed {run.spec.seed}: {run.error or run.status}")
