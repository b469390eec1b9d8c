"""Explore: the memory and cost of every method, by formula, without training."""

from __future__ import annotations

import streamlit as st
from pydantic import ValidationError

from asi_core.errors import AsiError, one_sentence
from dashboard.explore.answers import answer_sentence, kpis
from dashboard.explore.calibration import calibration_panel, is_unknown, known_calibration
from dashboard.explore.compared import compared
from dashboard.explore.device_cards import device_cards
from dashboard.explore.equations import formula_drawer
from dashboard.explore.largest_rank import largest_rank
from dashboard.explore.measuring import measure_panel
from dashboard.explore.numbers import numbers_table
from dashboard.explore.pictures import pictures, tell_missing, token
from dashboard.explore.settings import ViewSettings, explored, view_menu
from dashboard.explore.training import train_button
from dashboard.frame import answer, kpi_row, question
from dashboard.links import checked
from dashboard.network import network_picture
from dashboard.plain import plain
from dashboard.setup import Setup, as_it_stands, redraw, the_setup, was_redrawn

_PICTURES, _DETAILS = "explore-pictures", "explore-details"
_SHOWN = "explore-shown"


@checked
def main() -> None:
    """Draw the page."""
    question("What would compression save?")
    setup = the_setup(fragments=[_PICTURES])
    first, then = st.container(), st.container(horizontal=True, gap="small")
    with then:
        train_button(setup.card)
        view = view_menu()
    st.session_state[_SHOWN] = setup, view
    with first:
        _pictures(setup, view)
    _details(setup, view)


def _redraw_details(drawn: str) -> None:
    """Redraw the details once the browser has drawn the figures, or the figures again if a box
    was changed meanwhile: Streamlit merges the two requests."""
    setup, view = st.session_state[_SHOWN]
    if drawn != token(as_it_stands(setup), view):
        redraw()
    st.rerun([_DETAILS])


@st.fragment(key=_PICTURES)
def _pictures(setup: Setup, view: ViewSettings) -> None:
    """The answer and its figures: what a visitor watches while moving a slider."""
    try:
        settings = explored(as_it_stands(setup), view)
    except (AsiError, ValidationError) as error:
        st.error(plain(one_sentence(error)))
        return
    calibration = known_calibration(settings)
    costs = compared(settings, calibration)
    answer(answer_sentence(settings, costs))
    if is_unknown(settings, calibration):
        calibration_panel(settings)
    # A run of the whole page draws the details anyway.
    pictures(settings, view, costs, _redraw_details if was_redrawn() else None)


@st.fragment(key=_DETAILS)
def _details(setup: Setup, view: ViewSettings) -> None:
    """The parts below the figures."""
    try:
        settings = explored(as_it_stands(setup), view)
    except (AsiError, ValidationError):
        # `_pictures` shows the error.
        return
    costs = compared(settings, known_calibration(settings))
    network_picture(settings, key="explore-network", convention=view.convention)
    kpi_row(kpis(costs, view))
    tell_missing(costs)
    largest_rank(settings)
    device_cards(settings, costs)
    formula_drawer(settings, costs)
    numbers_table(costs)
    measure_panel(settings)


if __name__ == "__main__":
    main()
