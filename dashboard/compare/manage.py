"""Naming, noting and deleting what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.results.outcomes import Outcome
from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import LONGEST_NAME, LONGEST_NOTE, Description
from dashboard import services, visitor
from dashboard.compare.controls import View
from dashboard.compare.kept import library
from dashboard.frame import URL
from dashboard.plain import plain

_MESSAGE = "compare-told"


def tell_what_was_done() -> None:
    """Say once what the last click came to."""
    done, error = st.session_state.pop(_MESSAGE, ("", ""))
    if done:
        st.toast(plain(done), icon=":material/check:")
    if error:
        st.error(plain(error))


def manage(view: View, selected: Sequence[Outcome]) -> None:
    """Draw the panel."""
    with st.expander("Name, note, delete", icon=":material/edit:"):
        here = {view.titles[run.comparison]: run.comparison for run in view.runs}
        title = st.selectbox(
            "Comparison",
            list(here),
            key="named",
            help="Runs that were launched together. Its name is shown wherever it is listed.",
            **URL,
        )
        comparison = here[title]
        runs = services.store().comparison(comparison)
        _describe(comparison, runs)
        left, right = st.columns(2)
        with left:
            _delete_comparison(title, comparison, runs)
        with right:
            _delete_runs([run for outcome in selected for run in outcome.runs])


def _describe(comparison: str, runs: Sequence[RunRecord]) -> None:
    known = library().descriptions().get(comparison, Description())
    # Keys of their own for each comparison: another one brings its own texts.
    name = st.text_input(
        "Name",
        known.name,
        max_chars=LONGEST_NAME,
        key=f"name-{comparison}",
        help="Empty for the time at which it was launched.",
    )
    note = st.text_area(
        "Note",
        known.note,
        max_chars=LONGEST_NOTE,
        key=f"note-{comparison}",
        help="What it was for, or what was learned. It is in the report.",
    )
    description = Description(name.strip(), note.strip())

    def save() -> None:
        library().describe(comparison, description, visitor.owner())

    st.button(
        "Save",
        icon=":material/save:",
        disabled=description == known or not all(visitor.may_change(run) for run in runs),
        key="save-description",
        help="Keep name and note of a comparison of one's own.",
        on_click=_attempt,
        args=(save, "Saved."),
    )


def _delete_comparison(title: str, comparison: str, runs: Sequence[RunRecord]) -> None:
    _confirmed(
        "Delete this comparison",
        f"{plain(title)}, with {_count(runs)} and all that was measured, is gone for good then.",
        runs,
        lambda: library().delete_comparison(comparison, visitor.owner()),
    )


def _delete_runs(runs: Sequence[RunRecord]) -> None:
    ids = [run.id for run in runs]
    _confirmed(
        "Delete the selected runs",
        f"{_count(runs)}, with all that was measured, are gone for good then.",
        runs,
        lambda: library().delete_runs(ids, visitor.owner()),
    )


def _confirmed(
    label: str, warning: str, runs: Sequence[RunRecord], delete: Callable[[], object]
) -> None:
    reason = _why_not(runs)
    with st.popover(label, icon=":material/delete:", disabled=bool(reason), help=reason):
        st.write(warning)
        st.button(
            "Delete for good",
            type="primary",
            key=f"confirm-{label}",
            on_click=_attempt,
            args=(delete, f"{_count(runs)} deleted."),
        )


def _why_not(runs: Sequence[RunRecord]) -> str | None:
    if not runs:
        return "There is nothing to delete."
    if any(run.is_active for run in runs):
        return "Only runs that have ended can be deleted: cancel them first."
    if not all(visitor.may_change(run) for run in runs):
        return "Shipped examples and other people's runs stay."
    return None


def _attempt(change: Callable[[], object], done: str) -> None:
    """Change what is kept; what the library refuses is told on the page."""
    try:
        change()
    except AsiError as error:
        st.session_state[_MESSAGE] = ("", one_sentence(error))
    else:
        st.session_state[_MESSAGE] = (done, "")


def _count(runs: Sequence[RunRecord]) -> str:
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
