"""Explore: what every method would keep and cost, at once, without training."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.explore.answers import answer_sentence, kpis
from dashboard.explore.calibration import (
    calibration_panel,
    default_is_calibrated,
    is_unknown,
    known_calibration,
)
from dashboard.explore.compared import compared
from dashboard.explore.device_cards import device_cards
from dashboard.explore.equations import formula_drawer
from dashboard.explore.largest_rank import largest_rank
from dashboard.explore.measuring import measure_panel
from dashboard.explore.numbers import numbers_table
from dashboard.explore.pictures import pictures, token
from dashboard.explore.settings import chosen, explore_controls, forget_what_was_drawn, is_drawn
from dashboard.explore.training import train_link
from dashboard.frame import TO_COME, answer, kpi_row, question
from dashboard.links import names_in_url

_DETAILS, _SEEN = "explore-details", "explore-seen"


def main() -> None:
    """Draw the page."""
    question("What would it save?")
    if unknown := names_in_url():
        st.warning(unknown)
    forget_what_was_drawn()
    _controls_and_pictures(_SEEN not in st.session_state)
    _details()


@st.fragment
def _controls_and_pictures(is_first: bool) -> None:
    """What a visitor looks at, first and while a control is moved. The rest comes after it."""
    sentence, controls, below = st.container(), st.container(), st.container()
    follows = is_drawn()
    if not follows:
        with controls:
            explore_controls(variance_first=default_is_calibrated())
    _pictures(sentence, below, _draw_details if follows or is_first else None)
    if follows:
        with controls:
            explore_controls(variance_first=default_is_calibrated())


def _pictures(
    sentence: DeltaGenerator, below: DeltaGenerator, on_drawn: Callable[[str], None] | None
) -> None:
    settings, view = chosen()
    calibration = known_calibration(settings)
    costs = compared(settings, calibration)
    with sentence:
        answer(answer_sentence(settings, costs))
    with below:
        if is_unknown(settings, calibration):
            calibration_panel(settings)
        numbers = st.container()
        pictures(settings, view, costs, on_drawn)
    with numbers:
        kpi_row(kpis(costs, view))


def _draw_details(seen: str) -> None:
    # Otherwise a control was moved: the run that follows draws its pictures, and tells of them. A
    # run that is asked for here sets controls to what is known, and what was pressed is lost.
    if seen == token(*chosen()):
        st.rerun([_DETAILS])


@st.fragment(key=_DETAILS)
def _details() -> None:
    if _SEEN not in st.session_state:
        st.session_state[_SEEN] = True
        with st.container(key=TO_COME):
            st.caption("What follows is drawn after the pictures …")
        return
    settings, _ = chosen()
    costs = compared(settings, known_calibration(settings))
    train_link(settings)
    largest_rank(settings)
    device_cards(settings, costs)
    formula_drawer(settings, costs)
    numbers_table(costs)
    measure_panel(settings)


if __name__ == "__main__":
    main()
