"""Compare: which runs are worth their memory, and sweeps to find out."""

from __future__ import annotations

import streamlit as st

from asi_core.results.verdict import judge
from dashboard.compare.across import across_tasks
from dashboard.compare.answer import kpis, sentence
from dashboard.compare.controls import View, chosen_view
from dashboard.compare.details import details
from dashboard.compare.manage import manage, tell_what_was_done
from dashboard.compare.picture import pareto
from dashboard.compare.report import build_report
from dashboard.compare.runs_table import runs_table
from dashboard.compare.selection import selected
from dashboard.compare.sweep_form import sweep_panel
from dashboard.compare.transfer import transfer
from dashboard.compare.watch import watch
from dashboard.frame import answer, kpi_row, question
from dashboard.links import checked
from dashboard.plain import plain


@checked
def main() -> None:
    """Draw the page."""
    question("Which runs are worth their memory?")
    tell_what_was_done()
    progress = st.container()
    view = chosen_view()
    if view is None:
        st.info("No run matches: start a sweep below, or relax the filter.")
    else:
        _compare(view)
    sweep_panel()
    # Drawn last, so that it includes a sweep that was launched in this script run.
    with progress:
        watch()
    transfer({} if view is None else view.titles)


def _compare(view: View) -> None:
    verdict = judge(view.outcomes, view.tolerance)
    answer(plain(sentence(verdict, view.outcomes, view.tolerance)))
    pareto(view, verdict.reference)
    if numbers := kpis(verdict):
        kpi_row(numbers)
    runs_table(view)
    across_tasks(view)
    shown = selected(view, verdict)
    details(shown)
    st.download_button(
        "Report",
        lambda: build_report(view, verdict, shown),
        file_name="comparison.html",
        mime="text/html",
        key="report",
        icon=":material/description:",
        on_click="ignore",
        help="The figure, tables, curves, settings and commands of the selected runs, as one HTML "
        "file that opens offline.",
    )
    manage(view, shown)


# A spawned worker process imports this file again, under another name.
if __name__ == "__main__":
    main()
