"""Names, notes and deletion of stored runs."""

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

_MESSAGE = "compare-message"


def tell_what_was_done() -> None:
    """Show the result of the last click, once."""
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
            help="Runs that were launched together. The name is shown wherever it is listed.",
            **URL,
        )
        comparison = here[title]
        runs = services.store().comparison(comparison)
        _describe(comparison, runs)
        left, right = st.columns(2)
        with left:
            _confirmed(
                "Delete this comparison",
                f"This permanently deletes {plain(title)}, with {_count(runs)} and all "
                "measurements.",
                runs,
                lambda: library().delete_comparison(comparison, visitor.owner()),
            )
        chosen = [run for outcome in selected for run in outcome.runs]
        ids = [run.id for run in chosen]
        with right:
            _confirmed(
                "Delete the selected runs",
                f"This permanently deletes {_count(chosen)}, with all measurements.",
                chosen,
                lambda: library().delete_runs(ids, visitor.owner()),
            )


def _describe(comparison: str, runs: Sequence[RunRecord]) -> None:
    known = library().descriptions().get(comparison, Description())
    # Keys per comparison: choosing another one shows its own texts.
    name = st.text_input(
        "Name",
        known.name,
        max_chars=LONGEST_NAME,
        key=f"name-{comparison}",
        help="Empty: the launch time is used.",
    )
    note = st.text_area(
        "Note",
        known.note,
        max_chars=LONGEST_NOTE,
        key=f"note-{comparison}",
        help="The purpose or the result; included in the report.",
    )
    description = Description(name.strip(), note.strip())

    def save() -> None:
        library().describe(comparison, description, visitor.owner())

    st.button(
        "Save",
        icon=":material/save:",
        disabled=description == known or not all(visitor.may_change(run) for run in runs),
        key="save-description",
        help="Save name and note; for your own comparisons only.",
        on_click=_attempt,
        args=(save, "Saved."),
    )


def _confirmed(
    label: str, warning: str, runs: Sequence[RunRecord], delete: Callable[[], object]
) -> None:
    reason = _why_not(runs)
    with st.popover(label, icon=":material/delete:", disabled=bool(reason), help=reason):
        st.write(warning)
        st.button(
            "Delete permanently",
            type="primary",
            key=f"confirm-{label}",
            on_click=_attempt,
            args=(delete, f"{_count(runs)} deleted."),
        )


def _why_not(runs: Sequence[RunRecord]) -> str | None:
    if not runs:
        return "There is nothing to delete."
    if any(run.is_active for run in runs):
        return "Active runs cannot be deleted: cancel them first."
    if not all(visitor.may_change(run) for run in runs):
        return "Shipped examples and other visitors' runs cannot be deleted."
    return None


def _attempt(change: Callable[[], object], done: str) -> None:
    """Change the library; keep the result for `tell_what_was_done`."""
    try:
        change()
    except AsiError as error:
        st.session_state[_MESSAGE] = ("", one_sentence(error))
    else:
        st.session_state[_MESSAGE] = (done, "")


def _count(runs: Sequence[RunRecord]) -> str:
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
