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
from dashboard.explore.pictures import ask_again, pictures, token
from dashboard.explore.settings import chosen, explore_controls, forget_what_was_drawn, is_drawn
from dashboard.explore.training import train_link
from dashboard.frame import TO_COME, answer, kpi_row, question
from dashboard.links import checked, names_in_url

_DETAILS, _SEEN, _AT_ONCE = "explore-details", "explore-seen", "explore-at-once"


@checked
def main() -> None:
    """Draw the page."""
    question("What would it save?")
    if unknown := names_in_url():
        st.warning(unknown)
    forget_what_was_drawn()
    st.session_state[_AT_ONCE] = _SEEN in st.session_state
    _controls_and_pictures()
    _details()


@st.fragment
def _controls_and_pictures() -> None:
    """What a visitor looks at, first and while a control is moved. The rest comes after it."""
    sentence, controls, below = st.container(), st.container(), st.container()
    follows = is_drawn()
    if not follows:
        explore_controls(controls, variance_first=default_is_calibrated())
    # What is drawn by this very run need not be asked for.
    _pictures(sentence, below, None if st.session_state.pop(_AT_ONCE, False) else _draw_details)
    if follows:
        explore_controls(controls, variance_first=default_is_calibrated())


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
    if seen == token(*chosen()):
        st.rerun([_DETAILS])
    else:
        # A control was moved. A run asked for here would set it back: its own draws the pictures.
        ask_again()


@st.fragment(key=_DETAILS)
def _details() -> None:
    if _SEEN not in st.session_state:
        st.session_state[_SEEN] = True
        st.container(key=TO_COME).caption("What follows is drawn after the pictures …")
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
