"""The end of a run's log."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.runs.records import LogLine, RunRecord
from dashboard import services
from dashboard.frame import URL, drawer
from dashboard.history import recorded_time, run_labels

_LINES, _POLL_SECONDS = 40, 2.0


def log_panel(runs: list[RunRecord]) -> None:
    """An expander with a run to choose; nothing is read while it is closed."""
    with drawer("Log", icon=":material/article:", key="train-log") as panel:
        if panel.open:
            is_active = any(run.is_active for run in runs)
            st.fragment(_log, run_every=_POLL_SECONDS if is_active else None)(runs)


def _log(runs: list[RunRecord]) -> None:
    names = run_labels(runs)
    name = st.selectbox(
        "Run", names, key="log_run", help=f"Its last {_LINES} lines are shown.", **URL
    )
    run = runs[names.index(name)]
    lines = services.store().log_tail(run.id, _LINES)
    if lines:
        st.code(log_text(lines), language=None, wrap_lines=True)
    else:
        st.caption("Nothing has been logged yet, or the run has no log.")


def log_text(lines: Sequence[LogLine]) -> str:
    """One line per entry: time of day, the level unless it is info, and the text."""
    return "\n".join(
        f"{recorded_time(line.at, '%H:%M:%S')} "
        f"{'' if line.level == 'info' else line.level.upper() + ' '}{line.text}"
        for line in lines
    )
